//! What a layout lacks.

use crate::catalogue::Engine;
use crate::layout::{Expires, Layout, Maker};

/// Something that a layout lacks, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortcoming {
    /// What is missing or strange, and what it costs.
    pub what: String,
    /// The statement that mends it, where there is one.
    pub statement: Option<String>,
    /// What else to know or to do.
    pub note: Option<String>,
}

impl Layout {
    /// What is missing, and what it costs; the most urgent first.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<Shortcoming> {
        let all = [
            self.token_is_not_unique(),
            self.no_cascade(),
            self.no_index("userId", "listing a user's sessions, and ending them, looks at everybody's"),
            self.no_index("expires", "each clean-up looks at every session"),
            self.mixed_forms(),
            self.whole_seconds(),
            self.token_ignores_case(),
        ];
        all.into_iter().flatten().collect()
    }

    fn quoted(&self, name: &str) -> String {
        self.engine.quoted(name)
    }

    fn alter(&self, change: &str) -> String {
        format!("ALTER TABLE {} {change};", self.quoted(&self.sessions))
    }

    /// Prisma knows its tables from its own file alone: to it, what is in the database and not there is foreign.
    fn prisma(&self, line: &str) -> Option<String> {
        let is_prisma = matches!(self.maker, Maker::Prisma | Maker::PrismaClassic);
        is_prisma.then(|| format!("so that Prisma knows it: {line}"))
    }

    fn create_index(&self, column: &str, is_unique: bool) -> String {
        // As Prisma names them.
        let (unique, suffix) = if is_unique { ("UNIQUE ", "key") } else { ("", "idx") };
        // Otherwise nobody could sign in while the index is made.
        let concurrently = if self.engine == Engine::Postgres { "CONCURRENTLY " } else { "" };
        let name = self.quoted(&format!("{}_{column}_{suffix}", self.sessions));
        format!(
            "CREATE {unique}INDEX {concurrently}{name} ON {} ({});",
            self.quoted(&self.sessions),
            self.quoted(column)
        )
    }

    fn token_is_not_unique(&self) -> Option<Shortcoming> {
        (!self.table.is_unique("sessionToken")).then(|| Shortcoming {
            what: "no unique index on sessionToken: each request looks at all sessions".to_owned(),
            statement: Some(self.create_index("sessionToken", true)),
            note: self.prisma("@unique at sessionToken"),
        })
    }

    fn no_index(&self, column: &str, cost: &str) -> Option<Shortcoming> {
        (!self.table.is_indexed(column)).then(|| Shortcoming {
            what: format!("no index on {column}: {cost}"),
            statement: Some(self.create_index(column, false)),
            note: self.prisma(&format!("@@index([{column}])")),
        })
    }

    fn no_cascade(&self) -> Option<Shortcoming> {
        let key = self.table.foreign_keys.iter().find(|key| key.column == "userId");
        if key.is_some_and(|key| key.cascades) {
            return None;
        }
        let anew = "make the foreign key of userId anew, with ON DELETE CASCADE";
        let (what, statement, note) = match (key, self.engine) {
            (Some(_), _) => {
                ("the foreign key of userId does not cascade: who has sessions cannot be deleted", None, anew)
            }
            (None, Engine::Sqlite) => (
                "no foreign key on userId: sessions do not go with the user who is deleted",
                None,
                "SQLite takes a foreign key only when a table is made: make it anew, with ON DELETE CASCADE",
            ),
            (None, _) => {
                let (user, users, id) = (self.quoted("userId"), self.quoted(&self.users), self.quoted("id"));
                let change = format!("ADD FOREIGN KEY ({user}) REFERENCES {users} ({id}) ON DELETE CASCADE");
                (
                    "no foreign key on userId: sessions do not go with the user who is deleted",
                    Some(self.alter(&change)),
                    "it is refused while there are sessions of users who are gone: delete those first",
                )
            }
        };
        let note = self.prisma("onDelete: Cascade at the relation").unwrap_or_else(|| note.to_owned());
        Some(Shortcoming { what: what.to_owned(), statement, note: Some(note) })
    }

    fn token_ignores_case(&self) -> Option<Shortcoming> {
        let column = self.table.column("sessionToken")?;
        let collation = column.collation.as_deref().filter(|collation| collation.ends_with("_ci"))?;
        let change = format!(
            "MODIFY {} {} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
            self.quoted("sessionToken"),
            column.kind
        );
        Some(Shortcoming {
            what: format!("sessionToken is compared by {collation}, to which upper and lower case are one"),
            statement: Some(self.alter(&change)),
            note: Some("harmless for the tokens that Auth.js makes, which have no upper case".to_owned()),
        })
    }

    fn mixed_forms(&self) -> Option<Shortcoming> {
        (self.table.expires_forms.len() > 1).then(|| Shortcoming {
            what: "expires is text in some rows and a number in others".to_owned(),
            statement: None,
            note: Some(
                "let no program clean up that compares them as one: to SQLite each number is less than each text"
                    .to_owned(),
            ),
        })
    }

    fn whole_seconds(&self) -> Option<Shortcoming> {
        let column = self.table.column("expires").filter(|_| self.expires == Expires::Timestamp { fraction: 0 })?;
        let expires = self.quoted("expires");
        let change = match self.engine {
            Engine::Mysql => {
                let kind = column.kind.split('(').next().unwrap_or_default();
                format!("MODIFY {expires} {kind}(3) NOT NULL")
            }
            _ => format!("ALTER COLUMN {expires} TYPE timestamp(3)"),
        };
        Some(Shortcoming {
            what: "expires has whole seconds: what is written is rounded".to_owned(),
            statement: Some(self.alter(&change)),
            note: None,
        })
    }
}
