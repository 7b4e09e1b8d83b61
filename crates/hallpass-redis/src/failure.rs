//! What failed, in the words of the contract.

use std::error::Error;
use std::sync::Arc;

use hallpass_core::StoreError;
use redis::RedisError;

/// Names the database in every message; never a password.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    location: Arc<str>,
}

/// Why one command has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It never left: nothing happened.
    NotSent { what: String, source: Option<RedisError> },
    /// It left, and whether it was done is unknown.
    Lost { what: String, source: Option<RedisError> },
    /// The server refused it.
    Refused(RedisError),
}

impl Failures {
    pub(crate) fn at(location: &impl ToString) -> Self {
        Self { location: location.to_string().into() }
    }

    pub(crate) fn unavailable(&self, what: &str) -> StoreError {
        StoreError::unavailable(format!("{}: {what}", self.location))
    }

    /// Unavailable, because of another failure.
    pub(crate) fn because(&self, what: &str, error: StoreError) -> StoreError {
        StoreError::Unavailable { message: format!("{}: {what}", self.location), source: Some(Box::new(error)) }
    }

    pub(crate) fn corrupt(&self, what: &str) -> StoreError {
        StoreError::Corrupt { message: format!("{}: {what}", self.location), source: None }
    }

    /// What `failure` of a command at `node` means to a caller.
    pub(crate) fn explain(&self, node: &str, failure: Failure) -> StoreError {
        let at = &self.location;
        match failure {
            Failure::NotSent { what, source } => StoreError::Unavailable {
                message: format!("{at}: {what}; look whether the server runs and can be reached"),
                source: boxed(source),
            },
            Failure::Lost { what, source } => StoreError::Unavailable {
                message: format!("{at}: {what}; what was asked may have been done or not"),
                source: boxed(source),
            },
            Failure::Refused(error) => self.refused(node, error),
        }
    }

    fn refused(&self, node: &str, error: RedisError) -> StoreError {
        let at = &self.location;
        let unavailable = |message: String, error| StoreError::Unavailable { message, source: boxed(Some(error)) };
        let not_writable = |message: String, error| StoreError::NotWritable { message, source: boxed(Some(error)) };
        let text = error.to_string();
        if text.contains("HPCORRUPT") || text.contains("data string too short") {
            return self.corrupt(&format!("{node} holds a session that this program cannot read; restore a backup"));
        }
        match error.code() {
            Some("OOM") => not_writable(
                format!("{at}: the memory of {node} is full (maxmemory); give it more, or sweep ended sessions"),
                error,
            ),
            Some("MISCONF") => not_writable(
                format!("{at}: {node} cannot write to its disk and refuses writes; look at its log and its disk"),
                error,
            ),
            Some("READONLY") => not_writable(
                format!("{at}: {node} is a replica; name the primary (a fail-over may be under way)"),
                error,
            ),
            Some("NOREPLICAS") => not_writable(
                format!("{at}: {node} has too few replicas for its min-replicas-to-write and refuses writes"),
                error,
            ),
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => unavailable(
                format!("{at}: {node} refuses the user or the password, or a command that hallpass needs ({text})"),
                error,
            ),
            Some("WRONGTYPE") => StoreError::Corrupt {
                message: format!(
                    "{at}: a key of hallpass at {node} holds something of another program; use another prefix"
                ),
                source: boxed(Some(error)),
            },
            Some("CROSSSLOT") => {
                unavailable(format!("{at}: {node} is a node of a Cluster; name it with redis+cluster://"), error)
            }
            Some("LOADING") => unavailable(format!("{at}: {node} is loading its data; try again later"), error),
            Some("CLUSTERDOWN" | "MASTERDOWN") => unavailable(
                format!("{at}: the Cluster has no primary for these slots ({text}); a fail-over may be under way"),
                error,
            ),
            Some("TRYAGAIN" | "MOVED" | "ASK") => {
                unavailable(format!("{at}: slots are moving between nodes ({text}); try again later"), error)
            }
            _ => unavailable(format!("{at}: {node} answered {text}"), error),
        }
    }
}

fn boxed(error: Option<RedisError>) -> Option<Box<dyn Error + Send + Sync>> {
    error.map(|error| Box::new(error) as Box<dyn Error + Send + Sync>)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, detail: &str) -> StoreError {
        let value = redis::parse_redis_value(format!("-{code} {detail}\r\n").as_bytes()).unwrap();
        let error = value.extract_error().unwrap_err();
        Failures::at(&"redis://h:1/0").explain("h:1", Failure::Refused(error))
    }

    #[test]
    fn each_refusal_says_what_to_do_and_where() {
        type Is = fn(&StoreError) -> bool;
        let unavailable: Is = |e| matches!(e, StoreError::Unavailable { .. });
        let not_writable: Is = |e| matches!(e, StoreError::NotWritable { .. });
        let corrupt: Is = |e| matches!(e, StoreError::Corrupt { .. });
        let table: [(&str, &str, Is, &str); 13] = [
            ("OOM", "command not allowed", not_writable, "maxmemory"),
            ("MISCONF", "Redis is configured to save", not_writable, "disk"),
            ("READONLY", "You can't write", not_writable, "replica"),
            ("NOREPLICAS", "Not enough", not_writable, "min-replicas"),
            ("NOAUTH", "Authentication required", unavailable, "password"),
            ("NOPERM", "no permissions", unavailable, "command"),
            ("WRONGTYPE", "Operation", corrupt, "prefix"),
            ("CROSSSLOT", "Keys", unavailable, "redis+cluster://"),
            ("LOADING", "Redis is loading", unavailable, "later"),
            ("CLUSTERDOWN", "Hash slot not served", unavailable, "fail-over"),
            ("TRYAGAIN", "Multiple keys", unavailable, "moving"),
            ("ERR", "user_script:9: HPCORRUPT script: x", corrupt, "restore"),
            ("ERR", "something else", unavailable, "something else"),
        ];
        for (code, detail, is, words) in table {
            let error = refused(code, detail);
            let text = error.to_string();
            assert!(is(&error) && text.contains(words) && text.contains("h:1"), "{code}: {error:?}");
        }
    }
}
