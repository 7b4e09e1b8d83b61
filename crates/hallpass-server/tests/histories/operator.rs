//! Somebody who talks to a database server beside the nodes.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::support::databases::beside_postgres;

/// A connection of an operator's.
pub(crate) enum Operator {
    Postgres(Box<tokio_postgres::Client>),
    Redis(Redis),
}

impl Operator {
    pub(crate) async fn of(url: &str) -> Self {
        if url.starts_with("redis:") {
            return Self::Redis(Redis::connect(url).await);
        }
        Self::Postgres(Box::new(beside_postgres(url).await))
    }

    /// Ends every connection that listens for hints; how many there were.
    pub(crate) async fn ends_listeners(&mut self) -> usize {
        match self {
            Self::Postgres(client) => {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query ~* '^\\s*listen\\M'";
                usize::try_from(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)).unwrap()
            }
            Self::Redis(redis) => redis.number("CLIENT KILL TYPE pubsub").await,
        }
    }
}

/// A connection to one Redis server, to which commands are typed.
pub(crate) struct Redis(BufReader<TcpStream>);

impl Redis {
    /// To the first server that the URL names, or to the one of this address.
    pub(crate) async fn connect(url: &str) -> Self {
        let server = url.rsplit("://").next().unwrap().split([',', '/', '?']).next().unwrap();
        Self(BufReader::new(TcpStream::connect(server).await.unwrap()))
    }

    /// What is answered with a line, or with a text.
    pub(crate) async fn ask(&mut self, command: &str) -> String {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        let line = line.trim_end();
        assert!(!line.starts_with('-'), "{command}: {line}");
        let Some(length) = line.strip_prefix('$') else { return line.get(1..).unwrap_or_default().to_owned() };
        let mut text = vec![0; length.parse::<usize>().unwrap() + 2];
        self.0.read_exact(&mut text).await.unwrap();
        String::from_utf8(text).unwrap().trim_end().to_owned()
    }

    pub(crate) async fn number(&mut self, command: &str) -> usize {
        self.ask(command).await.parse().unwrap()
    }

    /// Waits until a replica has all that this server has acknowledged.
    pub(crate) async fn is_replicated(&mut self) {
        self.ask("SET histories:mark 1").await;
        assert_eq!(self.number("WAIT 1 20000").await, 1, "the replica does not follow");
    }

    /// Whether this server is a primary.
    pub(crate) async fn is_primary(&mut self) -> bool {
        self.ask("INFO replication").await.contains("role:master")
    }
}
