//! What a database says of its tables.

mod mysql;
mod postgres;
mod sqlite;

/// The database's dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB or MySQL.
    Mysql,
}

impl Engine {
    /// A name as it stands in a statement.
    #[must_use]
    pub fn quoted(self, name: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::Mysql => format!("`{}`", name.replace('`', "``")),
        }
    }
}

/// The tables of one database, or of one schema of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// The dialect.
    pub engine: Engine,
    /// All tables, by name.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Its name, in its own spelling.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Its indexes over whole columns and all rows, the primary key's included.
    pub indexes: Vec<Index>,
    /// Its foreign keys of one column.
    pub foreign_keys: Vec<ForeignKey>,
    /// SQLite keeps a value in the form in which it was written. The forms that are in the column `expires`, such as `integer` and `text`; empty for
    /// other engines and tables.
    pub expires_forms: Vec<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    /// Its name, in its own spelling.
    pub name: String,
    /// Its type in the words of the engine, in lower case: `timestamp(3) without time zone`, `varchar(191)`.
    pub kind: String,
    /// Whether it takes no NULL.
    pub is_required: bool,
    /// Whether a row may be written without naming it: it has a default, or the engine counts.
    pub has_default: bool,
    /// How its texts are compared, where the engine says so.
    pub collation: Option<String>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// Whether no two rows agree in all of them.
    pub is_unique: bool,
}

/// A foreign key of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The column.
    pub column: String,
    /// The table that it refers to.
    pub table: String,
    /// Whether a row goes with the one that it refers to.
    pub cascades: bool,
}

impl Catalogue {
    /// The table of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The table of this name, made if there is none: rows of a catalogue come table by table.
    pub(crate) fn entry(&mut self, name: &str) -> &mut Table {
        let at = self.tables.iter().position(|table| table.name == name).unwrap_or_else(|| {
            self.tables.push(Table { name: name.to_owned(), ..Table::default() });
            self.tables.len() - 1
        });
        &mut self.tables[at]
    }
}

impl Table {
    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether an index finds rows by this column.
    #[must_use]
    pub fn is_indexed(&self, column: &str) -> bool {
        self.indexes.iter().any(|index| index.columns.first().is_some_and(|first| first == column))
    }

    /// Whether no two rows have the same value there.
    #[must_use]
    pub fn is_unique(&self, column: &str) -> bool {
        self.indexes.iter().any(|index| index.is_unique && index.columns == [column])
    }
}
