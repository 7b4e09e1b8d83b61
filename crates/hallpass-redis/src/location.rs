//! Where a database lives.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};

/// One server, or a Cluster by some of its nodes.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    cluster: bool,
    tls: bool,
    nodes: Vec<(String, u16)>,
    username: Option<String>,
    password: Option<String>,
    database: u32,
}

/// The text names no Redis database. It is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the URL of a Redis database{0}: write redis://host:6379/0, rediss://user:password@host:6379 or \
     redis+cluster://host:7000,host:7001,host:7002 (rediss+cluster:// with TLS)"
)]
pub struct LocationError(&'static str);

const DEFAULT_PORT: u16 = 6379;

impl FromStr for Location {
    type Err = LocationError;

    /// Reads `redis://[user:password@]host[:port][/database]`, `rediss://` with TLS, and `redis+cluster://` or `rediss+cluster://` with
    /// one or more nodes between commas. User and password are percent-decoded.
    ///
    /// ```
    /// use hallpass_redis::Location;
    ///
    /// assert_eq!("redis://localhost/2".parse::<Location>().unwrap().to_string(), "redis://localhost:6379/2");
    /// let cluster: Location = "redis+cluster://:secret@10.0.0.1:7000,10.0.0.2:7000".parse().unwrap();
    /// assert_eq!(cluster.to_string(), "redis+cluster://10.0.0.1:7000,10.0.0.2:7000");
    /// assert!(!format!("{cluster:?}").contains("secret"));
    /// assert!("redis://localhost?timeout=1".parse::<Location>().is_err());
    /// assert!("mysql://localhost".parse::<Location>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, LocationError> {
        let refuse = |what| Err(LocationError(what));
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("");
        };
        let (tls, cluster) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" => (false, true),
            "rediss+cluster" => (true, true),
            _ => return refuse(""),
        };
        if rest.contains(['?', '#']) {
            return refuse(" (parameters after ? are not supported; use the settings)");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let (username, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            None => (None, None),
            Some((username, password)) => (decoded(username)?, decoded(password)?),
        };
        let Ok(database) = (if path.is_empty() { Ok(0) } else { path.parse() }) else {
            return refuse(" (after the host comes the number of the database)");
        };
        if cluster && database != 0 {
            return refuse(" (a Cluster has database 0 alone)");
        }
        let nodes: Vec<(String, u16)> = hosts.split(',').map(node).collect::<Option<_>>().ok_or(LocationError(""))?;
        if !cluster && nodes.len() > 1 {
            return refuse(" (several hosts are a Cluster: redis+cluster://)");
        }
        Ok(Self { cluster, tls, nodes, username, password, database })
    }
}

fn decoded(text: &str) -> Result<Option<String>, LocationError> {
    if text.is_empty() {
        return Ok(None);
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|text| Some(text.into_owned())).map_err(|_| LocationError(" (user and password must be UTF-8)"))
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn node(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some(port))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { DEFAULT_PORT } else { port.parse().ok()? };
    let sound =
        !host.is_empty() && !host.contains([' ', '\0', '@', '{']) && (text.starts_with('[') || !host.contains(':'));
    sound.then(|| (host.to_owned(), port))
}

/// `host:port`, with brackets where the host has colons.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Location {
    /// Whether it is a Cluster.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        self.cluster
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.tls
    }

    /// The nodes to begin with.
    pub(crate) fn nodes(&self) -> &[(String, u16)] {
        &self.nodes
    }

    /// How to connect to one node.
    pub(crate) fn connection(&self, host: &str, port: u16) -> redis::RedisResult<ConnectionInfo> {
        let address = if self.tls {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.to_owned(), port)
        };
        // The newer protocol tells when a connection has ended, so that nothing is sent into it.
        let mut settings =
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(i64::from(self.database));
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(address.into_connection_info()?.set_redis_settings(settings))
    }
}

impl fmt::Display for Location {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.tls, self.cluster) {
            (false, false) => "redis",
            (true, false) => "rediss",
            (false, true) => "redis+cluster",
            (true, true) => "rediss+cluster",
        };
        let nodes: Vec<String> = self.nodes.iter().map(|(host, port)| address(host, *port)).collect();
        write!(f, "{scheme}://{}", nodes.join(","))?;
        if self.cluster { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("rediss://u:p@h:1/15", "rediss://h:1/15"),
            ("redis://[::1]:7/", "redis://[::1]:7/0"),
            ("redis://[::1]", "redis://[::1]:6379/0"),
            ("redis+cluster://a:1,b,[::2]:3", "redis+cluster://a:1,b:6379,[::2]:3"),
            ("rediss+cluster://:p%40ss@a:1/0", "rediss+cluster://a:1"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), shown);
        }
        let with: Location = "redis://us%20er:p%40s%3As@h".parse().unwrap();
        assert_eq!((with.username.as_deref(), with.password.as_deref()), (Some("us er"), Some("p@s:s")));
        let password: Location = "redis://:a:b@h".parse().unwrap();
        assert_eq!((password.username.as_deref(), password.password.as_deref()), (None, Some("a:b")));
    }

    #[test]
    fn a52_other_texts_are_refused_without_being_repeated() {
        for text in [
            "",
            "redis:",
            "redis://",
            "redis://h:x",
            "redis://h:99999",
            "redis://h/x",
            "redis://h/-1",
            "redis://a,b",
            "http://h",
            "redis+cluster://",
            "redis+cluster://a/1",
            "redis://::1",
            "redis://[::1",
            "redis://h?x=1",
            "redis://%ff:secret@h",
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
