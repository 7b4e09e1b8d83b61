//! The catalogue of a SQLite file.

use rusqlite::{Connection, Error, params};

use crate::catalogue::{Catalogue, Column, Engine, ForeignKey, Index};

impl Catalogue {
    /// Reads what the file says of its tables. A few reads for each table, and one of all rows of a table that looks like sessions.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_sqlite(connection: &Connection) -> Result<Self, Error> {
        let mut catalogue = Self { engine: Engine::Sqlite, tables: Vec::new() };
        let names: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for name in names {
            read_table(connection, &mut catalogue, &name)?;
        }
        Ok(catalogue)
    }
}

fn read_table(connection: &Connection, catalogue: &mut Catalogue, name: &str) -> Result<(), Error> {
    let table = catalogue.entry(name);
    let mut keys: Vec<(i64, String)> = Vec::new();
    let mut columns = connection.prepare(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk FROM pragma_table_info(?1) ORDER BY cid",
    )?;
    let mut rows = columns.query(params![name])?;
    while let Some(row) = rows.next()? {
        let (column, key): (String, i64) = (row.get(0)?, row.get(4)?);
        if key > 0 {
            keys.push((key, column.clone()));
        }
        table.columns.push(Column {
            name: column,
            kind: row.get::<_, String>(1)?.to_lowercase(),
            is_required: row.get(2)?,
            has_default: row.get(3)?,
            collation: None,
        });
    }
    keys.sort();
    if let [(_, key)] = keys.as_slice()
        && let Some(column) = table.columns.iter_mut().find(|column| column.name == *key && column.kind == "integer")
    {
        // The number of the row, which SQLite gives.
        column.has_default = true;
    }
    if !keys.is_empty() {
        table.indexes.push(Index { columns: keys.into_iter().map(|(_, column)| column).collect(), is_unique: true });
    }
    let mut indexes = connection.prepare("SELECT name, \"unique\" FROM pragma_index_list(?1) WHERE NOT partial")?;
    let mut rows = indexes.query(params![name])?;
    while let Some(row) = rows.next()? {
        let index: String = row.get(0)?;
        let columns: Vec<Option<String>> = connection
            .prepare("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")?
            .query_map(params![index], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // One over an expression has a column without a name.
        if let Some(columns) = columns.into_iter().collect() {
            table.indexes.push(Index { columns, is_unique: row.get(1)? });
        }
    }
    let mut keys = connection.prepare(
        "SELECT max(\"from\"), \"table\", max(on_delete) FROM pragma_foreign_key_list(?1) GROUP BY id HAVING count(*) = 1",
    )?;
    let mut rows = keys.query(params![name])?;
    while let Some(row) = rows.next()? {
        let action: String = row.get(2)?;
        table.foreign_keys.push(ForeignKey {
            column: row.get(0)?,
            table: row.get(1)?,
            cascades: action.eq_ignore_ascii_case("cascade"),
        });
    }
    if table.column("sessionToken").is_some() && table.column("expires").is_some() {
        let quoted = Engine::Sqlite.quoted(name);
        table.expires_forms = connection
            .prepare(&format!("SELECT DISTINCT typeof(expires) FROM {quoted} ORDER BY 1"))?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
    }
    Ok(())
}
