//! Where sessions came from, and logouts of providers, in the SQLite file. Its writers take turns, so nothing comes between a write and the
//! look after it.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{SqliteAccounts, unavailable};
use crate::accounts::AccountsError;
use crate::accounts::provider_sessions::{Accepted, Logout, MARK_MS, Noted, ProviderSession, ProviderSessions};

const COLUMNS: &str = "session_id, provider, issuer, subject, sid, acr, auth_time, created_at";

fn session(row: &Row<'_>) -> rusqlite::Result<ProviderSession> {
    Ok(ProviderSession {
        session: row.get(0)?,
        provider: row.get(1)?,
        issuer: row.get(2)?,
        subject: row.get(3)?,
        sid: row.get(4)?,
        acr: row.get(5)?,
        auth_time: row.get(6)?,
        created_at: row.get(7)?,
    })
}

#[async_trait]
impl ProviderSessions for SqliteAccounts {
    async fn note_provider_session(
        &self,
        session: &ProviderSession,
        authenticated_at: i64,
    ) -> Result<Noted, AccountsError> {
        let session = session.clone();
        self.write(move |tx| {
            tx.execute("DELETE FROM account_provider_sessions WHERE session_id = ?1", [&session.session])
                .map_err(unavailable)?;
            tx.execute(
                &format!("INSERT INTO account_provider_sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
                params![
                    session.session,
                    session.provider,
                    session.issuer,
                    session.subject,
                    session.sid,
                    session.acr,
                    session.auth_time,
                    session.created_at
                ],
            )
            .map_err(unavailable)?;
            let mut logouts = tx
                .prepare_cached(
                    "SELECT 1 FROM account_logouts
                      WHERE issuer = ?1 AND issued_at >= ?2 AND received_at >= ?3
                        AND (sid IS NULL OR sid = ?4) AND (subject IS NULL OR subject = ?5)",
                )
                .map_err(unavailable)?;
            let since = session.created_at.saturating_sub(MARK_MS);
            let logged_out = logouts
                .exists(params![session.issuer, authenticated_at, since, session.sid, session.subject])
                .map_err(unavailable)?;
            Ok(if logged_out { Noted::LoggedOut } else { Noted::Live })
        })
        .await
    }

    async fn provider_session(&self, id: &str) -> Result<Option<ProviderSession>, AccountsError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM account_provider_sessions WHERE session_id = ?1");
            connection.query_row(&sql, [id], session).optional().map_err(unavailable)
        })
        .await
    }

    async fn provider_sessions(&self, after: Option<&str>, limit: u16) -> Result<Vec<ProviderSession>, AccountsError> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM account_provider_sessions WHERE session_id > ?1 ORDER BY session_id LIMIT ?2"
            );
            let mut page = connection.prepare_cached(&sql).map_err(unavailable)?;
            let rows = page.query_map(params![after, limit], session).map_err(unavailable)?;
            rows.collect::<Result<_, _>>().map_err(unavailable)
        })
        .await
    }

    async fn forget_provider_session(&self, id: &str) -> Result<(), AccountsError> {
        let id = id.to_owned();
        self.write(move |tx| {
            tx.execute("DELETE FROM account_provider_sessions WHERE session_id = ?1", [id])
                .map(drop)
                .map_err(unavailable)
        })
        .await
    }

    async fn accept_logout(&self, logout: &Logout) -> Result<Accepted, AccountsError> {
        let logout = logout.clone();
        self.write(move |tx| {
            let done: Option<bool> = tx
                .query_row(
                    "SELECT done FROM account_logouts WHERE issuer = ?1 AND jti_hash = ?2",
                    params![logout.issuer, logout.jti_hash.as_slice()],
                    |row| row.get(0),
                )
                .optional()
                .map_err(unavailable)?;
            if let Some(done) = done {
                return Ok(if done { Accepted::Replayed } else { Accepted::ToDo });
            }
            tx.execute(
                "INSERT INTO account_logouts (issuer, jti_hash, subject, sid, issued_at, received_at, done)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
                params![
                    logout.issuer,
                    logout.jti_hash.as_slice(),
                    logout.subject,
                    logout.sid,
                    logout.issued_at,
                    logout.received_at
                ],
            )
            .map_err(unavailable)?;
            Ok(Accepted::ToDo)
        })
        .await
    }

    async fn sessions_of_logout(
        &self,
        logout: &Logout,
        after: Option<&str>,
        limit: u16,
    ) -> Result<Vec<String>, AccountsError> {
        let (logout, after) = (logout.clone(), after.unwrap_or_default().to_owned());
        self.read(move |connection| {
            let which = match (&logout.sid, &logout.subject) {
                (Some(_), Some(_)) => "sid = ?2 AND subject = ?3",
                (Some(_), None) => "sid = ?2 AND ?3 IS NULL",
                (None, Some(_)) => "?2 IS NULL AND subject = ?3",
                (None, None) => return Ok(Vec::new()),
            };
            let sql = format!(
                "SELECT session_id FROM account_provider_sessions
                  WHERE issuer = ?1 AND {which} AND session_id > ?4 ORDER BY session_id LIMIT ?5"
            );
            let mut page = connection.prepare_cached(&sql).map_err(unavailable)?;
            let rows =
                page.query_map(params![logout.issuer, logout.sid, logout.subject, after, limit], |row| row.get(0));
            rows.map_err(unavailable)?.collect::<Result<_, _>>().map_err(unavailable)
        })
        .await
    }

    async fn logout_done(&self, logout: &Logout) -> Result<(), AccountsError> {
        let logout = logout.clone();
        self.write(move |tx| {
            tx.execute(
                "UPDATE account_logouts SET done = 1 WHERE issuer = ?1 AND jti_hash = ?2",
                params![logout.issuer, logout.jti_hash.as_slice()],
            )
            .map(drop)
            .map_err(unavailable)
        })
        .await
    }

    async fn unfinished_logouts(&self, limit: u16) -> Result<Vec<Logout>, AccountsError> {
        self.read(move |connection| {
            let mut unfinished = connection
                .prepare_cached(
                    "SELECT issuer, jti_hash, subject, sid, issued_at, received_at FROM account_logouts
                      WHERE done = 0 ORDER BY received_at LIMIT ?1",
                )
                .map_err(unavailable)?;
            let rows = unfinished.query_map([limit], |row| {
                Ok(Logout {
                    issuer: row.get(0)?,
                    jti_hash: row.get(1)?,
                    subject: row.get(2)?,
                    sid: row.get(3)?,
                    issued_at: row.get(4)?,
                    received_at: row.get(5)?,
                })
            });
            rows.map_err(unavailable)?.collect::<Result<_, _>>().map_err(unavailable)
        })
        .await
    }

    async fn forget_logouts(&self, received_before_ms: i64) -> Result<u64, AccountsError> {
        self.write(move |tx| {
            let gone = tx
                .execute("DELETE FROM account_logouts WHERE done = 1 AND received_at < ?1", [received_before_ms])
                .map_err(unavailable)?;
            Ok(gone as u64)
        })
        .await
    }
}
