//! The statements with the schema in them. Every name is qualified: no `search_path` decides which tables are meant.

use std::collections::HashMap;
use std::sync::Arc;

use crate::statements::{ALL, Sql};

/// Each statement's text by its name.
#[derive(Debug, Clone)]
pub(crate) struct Texts(Arc<HashMap<&'static str, String>>);

impl Texts {
    pub(crate) fn of(schema: &str) -> Self {
        Self(Arc::new(ALL.iter().map(|sql| (sql.name, qualify(sql.text, schema))).collect()))
    }

    pub(crate) fn get(&self, sql: Sql) -> &str {
        self.0.get(sql.name).map_or(sql.text, String::as_str)
    }
}

/// Puts the schema into a statement.
pub(crate) fn qualify(sql: &str, schema: &str) -> String {
    sql.replace("hp.hallpass_", &format!("\"{schema}\".hallpass_"))
}
