//! The catalogue of a schema of PostgreSQL.

use tokio_postgres::{Client, Error};

use crate::catalogue::{Catalogue, Column, Engine, ForeignKey, Index};

const COLUMNS: &str = "SELECT c.relname::text, a.attname::text, lower(format_type(a.atttypid, a.atttypmod)), a.attnotnull, \
      a.atthasdef OR a.attidentity <> '' \
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum";

const INDEXES: &str = "SELECT c.relname::text, i.indisunique, array_agg(a.attname::text ORDER BY k.n) \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, n) \
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts \
    GROUP BY c.relname, i.indexrelid, i.indisunique ORDER BY c.relname, i.indexrelid";

const FOREIGN_KEYS: &str = "SELECT c.relname::text, a.attname::text, f.relname::text, k.confdeltype = 'c' \
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_class f ON f.oid = k.confrelid JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] \
    WHERE n.nspname = $1 AND k.contype = 'f' AND cardinality(k.conkey) = 1 ORDER BY c.relname, a.attname";

impl Catalogue {
    /// Reads what the database says of the tables of a schema (`public` where nobody chose another). Three reads. The caller bounds the time.
    ///
    /// # Errors
    /// When the database does not answer, or refuses.
    pub async fn of_postgres(client: &Client, schema: &str) -> Result<Self, Error> {
        let mut catalogue = Self { engine: Engine::Postgres, tables: Vec::new() };
        for row in client.query(COLUMNS, &[&schema]).await? {
            catalogue.entry(row.try_get(0)?).columns.push(Column {
                name: row.try_get(1)?,
                kind: row.try_get(2)?,
                is_required: row.try_get(3)?,
                has_default: row.try_get(4)?,
                collation: None,
            });
        }
        for row in client.query(INDEXES, &[&schema]).await? {
            let (is_unique, columns) = (row.try_get(1)?, row.try_get(2)?);
            catalogue.entry(row.try_get(0)?).indexes.push(Index { columns, is_unique });
        }
        for row in client.query(FOREIGN_KEYS, &[&schema]).await? {
            let (column, table, cascades) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            catalogue.entry(row.try_get(0)?).foreign_keys.push(ForeignKey { column, table, cascades });
        }
        Ok(catalogue)
    }
}
