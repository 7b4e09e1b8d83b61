//! Where sessions came from, and logouts of providers, in a database server. At READ COMMITTED two transactions do not see each other's rows, so
//! what is looked for after a write is looked for after its commit.

use async_trait::async_trait;

use super::connection::{Columns, Fault, Value};
use super::{SqlAccounts, optional, text};
use crate::accounts::AccountsError;
use crate::accounts::provider_sessions::{Accepted, Logout, MARK_MS, Noted, ProviderSession, ProviderSessions};

const FORGET: &str = "DELETE FROM hp.hallpass_account_provider_sessions WHERE session_id = ?";
const NOTE: &str = "INSERT INTO hp.hallpass_account_provider_sessions \
    (session_id, provider, issuer, subject, sid, acr, auth_time, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const FIND: &str = "SELECT session_id, provider, issuer, subject, sid, acr, auth_time, created_at \
    FROM hp.hallpass_account_provider_sessions WHERE session_id = ?";
const LIST: &str = "SELECT session_id, provider, issuer, subject, sid, acr, auth_time, created_at \
    FROM hp.hallpass_account_provider_sessions WHERE session_id > ? ORDER BY session_id LIMIT ?";
const LOGGED_OUT: &str = "SELECT 1 FROM hp.hallpass_account_logouts WHERE issuer = ? AND issued_at >= ? AND received_at >= ? \
    AND (sid IS NULL OR sid = ?) AND (subject IS NULL OR subject = ?) LIMIT 1";
const ACCEPT: &str = "INSERT INTO hp.hallpass_account_logouts (issuer, jti_hash, subject, sid, issued_at, received_at, done) \
    VALUES (?, ?, ?, ?, ?, ?, ?)";
const IS_DONE: &str = "SELECT done FROM hp.hallpass_account_logouts WHERE issuer = ? AND jti_hash = ?";
const DONE: &str = "UPDATE hp.hallpass_account_logouts SET done = ? WHERE issuer = ? AND jti_hash = ?";
const UNFINISHED: &str = "SELECT issuer, jti_hash, subject, sid, issued_at, received_at FROM hp.hallpass_account_logouts \
    WHERE done = ? ORDER BY received_at LIMIT ?";
const FORGET_LOGOUTS: &str = "DELETE FROM hp.hallpass_account_logouts WHERE done = ? AND received_at < ?";

fn session(row: &Columns) -> Result<ProviderSession, Fault> {
    Ok(ProviderSession {
        session: row.text(0, "session_id")?,
        provider: row.text(1, "provider")?,
        issuer: row.text(2, "issuer")?,
        subject: row.text(3, "subject")?,
        sid: row.optional_text(4, "sid")?,
        acr: row.optional_text(5, "acr")?,
        auth_time: row.optional_integer(6, "auth_time")?,
        created_at: row.integer(7, "created_at")?,
    })
}

fn logout(row: &Columns) -> Result<Logout, Fault> {
    let jti_hash = row.bytes(1, "jti_hash")?;
    let damaged = |_| Fault::Failed(AccountsError::Damaged("a logout has a bad jti_hash".to_owned()));
    Ok(Logout {
        issuer: row.text(0, "issuer")?,
        jti_hash: <[u8; 32]>::try_from(jti_hash).map_err(damaged)?,
        subject: row.optional_text(2, "subject")?,
        sid: row.optional_text(3, "sid")?,
        issued_at: row.integer(4, "issued_at")?,
        received_at: row.integer(5, "received_at")?,
    })
}

fn key(logout: &Logout) -> [Value; 2] {
    [text(&logout.issuer), Value::Bytes(logout.jti_hash.to_vec())]
}

#[async_trait]
impl ProviderSessions for SqlAccounts {
    async fn note_provider_session(
        &self,
        session: &ProviderSession,
        authenticated_at: i64,
    ) -> Result<Noted, AccountsError> {
        let noting = self.pool.write(|connection| {
            Box::pin(async move {
                connection.write(FORGET, &[text(&session.session)]).await?;
                let values = [
                    text(&session.session),
                    text(&session.provider),
                    text(&session.issuer),
                    text(&session.subject),
                    optional(session.sid.as_deref()),
                    optional(session.acr.as_deref()),
                    session.auth_time.map_or(Value::NoInteger, Value::Integer),
                    Value::Integer(session.created_at),
                ];
                connection.write(NOTE, &values).await.map(drop)
            })
        });
        noting.await?;
        let values = [
            text(&session.issuer),
            Value::Integer(authenticated_at),
            Value::Integer(session.created_at.saturating_sub(MARK_MS)),
            optional(session.sid.as_deref()),
            text(&session.subject),
        ];
        let logged_out = !self.pool.read(LOGGED_OUT, &values).await?.is_empty();
        Ok(if logged_out { Noted::LoggedOut } else { Noted::Live })
    }

    async fn provider_session(&self, id: &str) -> Result<Option<ProviderSession>, AccountsError> {
        let rows = self.pool.read(FIND, &[text(id)]).await?;
        Ok(rows.first().map(session).transpose()?)
    }

    async fn provider_sessions(&self, after: Option<&str>, limit: u16) -> Result<Vec<ProviderSession>, AccountsError> {
        let rows = self.pool.read(LIST, &[text(after.unwrap_or_default()), Value::Integer(limit.into())]).await?;
        Ok(rows.iter().map(session).collect::<Result<_, _>>()?)
    }

    async fn forget_provider_session(&self, id: &str) -> Result<(), AccountsError> {
        let forgetting = self
            .pool
            .write(|connection| Box::pin(async move { connection.write(FORGET, &[text(id)]).await.map(drop) }));
        Ok(forgetting.await?)
    }

    async fn accept_logout(&self, logout: &Logout) -> Result<Accepted, AccountsError> {
        let accepting = self.pool.write(|connection| {
            Box::pin(async move {
                let [issuer, jti_hash] = key(logout);
                let values = [
                    issuer,
                    jti_hash,
                    optional(logout.subject.as_deref()),
                    optional(logout.sid.as_deref()),
                    Value::Integer(logout.issued_at),
                    Value::Integer(logout.received_at),
                    Value::Boolean(false),
                ];
                connection.write(ACCEPT, &values).await.map(drop)
            })
        });
        match accepting.await {
            Ok(()) => Ok(Accepted::ToDo),
            Err(Fault::Duplicate) => {
                let rows = self.pool.read(IS_DONE, &key(logout)).await?;
                // One that was forgotten between the two was done.
                let done = rows.first().map_or(Ok(true), |row| row.boolean(0, "done"))?;
                Ok(if done { Accepted::Replayed } else { Accepted::ToDo })
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn sessions_of_logout(
        &self,
        logout: &Logout,
        after: Option<&str>,
        limit: u16,
    ) -> Result<Vec<String>, AccountsError> {
        let mut which = String::new();
        let mut values = vec![text(&logout.issuer)];
        for (name, value) in [("sid", &logout.sid), ("subject", &logout.subject)] {
            if let Some(value) = value {
                which.push_str(&format!("{name} = ? AND "));
                values.push(text(value));
            }
        }
        if which.is_empty() {
            return Ok(Vec::new());
        }
        values.extend([text(after.unwrap_or_default()), Value::Integer(limit.into())]);
        let sql = format!(
            "SELECT session_id FROM hp.hallpass_account_provider_sessions \
             WHERE issuer = ? AND {which}session_id > ? ORDER BY session_id LIMIT ?"
        );
        let rows = self.pool.read(&sql, &values).await?;
        Ok(rows.iter().map(|row| row.text(0, "session_id")).collect::<Result<_, _>>()?)
    }

    async fn logout_done(&self, logout: &Logout) -> Result<(), AccountsError> {
        let done = self.pool.write(|connection| {
            Box::pin(async move {
                let [issuer, jti_hash] = key(logout);
                connection.write(DONE, &[Value::Boolean(true), issuer, jti_hash]).await.map(drop)
            })
        });
        Ok(done.await?)
    }

    async fn unfinished_logouts(&self, limit: u16) -> Result<Vec<Logout>, AccountsError> {
        let rows = self.pool.read(UNFINISHED, &[Value::Boolean(false), Value::Integer(limit.into())]).await?;
        Ok(rows.iter().map(logout).collect::<Result<_, _>>()?)
    }

    async fn forget_logouts(&self, received_before_ms: i64) -> Result<u64, AccountsError> {
        let forgetting = self.pool.write(|connection| {
            Box::pin(async move {
                let values = [Value::Boolean(true), Value::Integer(received_before_ms)];
                connection.write(FORGET_LOGOUTS, &values).await
            })
        });
        Ok(forgetting.await?)
    }
}
