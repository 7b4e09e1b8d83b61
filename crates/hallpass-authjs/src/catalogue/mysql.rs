//! The catalogue of a database of MariaDB or MySQL.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};

use crate::catalogue::{Catalogue, Column, Engine, ForeignKey, Index};

const COLUMNS: &str = "SELECT c.table_name, c.column_name, lower(c.column_type), c.is_nullable = 'NO', \
      c.column_default IS NOT NULL OR c.extra LIKE '%auto_increment%' OR c.extra LIKE '%DEFAULT_GENERATED%', c.collation_name \
    FROM information_schema.columns c JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
    WHERE c.table_schema = database() AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position";

const INDEXES: &str = "SELECT table_name, index_name, non_unique = 0, column_name, sub_part IS NOT NULL \
    FROM information_schema.statistics WHERE table_schema = database() ORDER BY table_name, index_name, seq_in_index";

const FOREIGN_KEYS: &str = "SELECT k.table_name, min(k.column_name), min(k.referenced_table_name), min(r.delete_rule) = 'CASCADE' \
    FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r \
      ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name \
    WHERE k.table_schema = database() AND k.referenced_table_name IS NOT NULL \
    GROUP BY k.table_name, k.constraint_name HAVING count(*) = 1 ORDER BY 1, 2";

impl Catalogue {
    /// Reads what the database that the connection uses says of its tables. Three reads. The caller bounds the time.
    ///
    /// # Errors
    /// When the database does not answer, or refuses.
    pub async fn of_mysql(connection: &mut Conn) -> Result<Self, Error> {
        let mut catalogue = Self { engine: Engine::Mysql, tables: Vec::new() };
        let columns: Vec<(String, String, String, bool, bool, Option<String>)> = connection.query(COLUMNS).await?;
        for (table, name, kind, is_required, has_default, collation) in columns {
            catalogue.entry(&table).columns.push(Column { name, kind, is_required, has_default, collation });
        }
        let parts: Vec<(String, String, bool, Option<String>, bool)> = connection.query(INDEXES).await?;
        // The parts of one index stand together.
        for index in parts.chunk_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1)) {
            // Of an expression, or of the beginnings of texts, is not of a column.
            let columns: Option<Vec<String>> =
                index.iter().map(|(_, _, _, column, is_prefix)| column.clone().filter(|_| !is_prefix)).collect();
            if let (Some((table, _, is_unique, ..)), Some(columns)) = (index.first(), columns) {
                catalogue.entry(table).indexes.push(Index { columns, is_unique: *is_unique });
            }
        }
        let keys: Vec<(String, String, String, bool)> = connection.query(FOREIGN_KEYS).await?;
        for (from, column, table, cascades) in keys {
            catalogue.entry(&from).foreign_keys.push(ForeignKey { column, table, cascades });
        }
        Ok(catalogue)
    }
}
