//! The program on a database that an application with Prisma has made. `tests/authjs/shared.test.mjs` has it beside Auth.js itself.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

const TOKEN: &str = "5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b";
const TABLES: &str = r#"
    CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "name" TEXT, "email" TEXT, "emailVerified" DATETIME, "image" TEXT);
    CREATE TABLE "Session" ("id" TEXT NOT NULL PRIMARY KEY, "sessionToken" TEXT NOT NULL, "userId" TEXT NOT NULL, "expires" DATETIME NOT NULL,
      CONSTRAINT "Session_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE ON UPDATE CASCADE);
    CREATE UNIQUE INDEX "Session_sessionToken_key" ON "Session"("sessionToken");
    INSERT INTO "User" ("id", "name") VALUES ('ada', 'Ada');
    INSERT INTO "Session" VALUES ('c1', '5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b', 'ada', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+30 days'));
"#;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn who_is_signed_in_at_the_application_is_signed_in_here() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(TABLES).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_example-beside-nextjs"))
        .env("DATABASE_URL", format!("sqlite:{}", path.display()))
        .env("LISTEN", "127.0.0.1:0")
        .env_remove("PUBLIC_URL")
        .env_remove("TOKENS")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    let _running = Running(child);
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let Some(origin) = line.trim().strip_prefix("listening on ") else { panic!("{line}") };

    let client = reqwest::Client::new();
    let me = |cookie: String| client.get(format!("{origin}/backend/me")).header("cookie", cookie).send();
    let answer = me(format!("authjs.session-token={TOKEN}")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("\"user\":\"ada\""));
    let devices = async || {
        let request = client.get(format!("{origin}/backend/account/api/sessions"));
        let answer = request.header("cookie", format!("authjs.session-token={TOKEN}")).send().await.unwrap();
        answer.text().await.unwrap()
    };
    assert!(
        devices().await.contains("\"name\":\"Unknown device\""),
        "a program asked, and the application does not say"
    );
    let browser = client
        .get(format!("{origin}/backend/me"))
        .header("cookie", format!("authjs.session-token={TOKEN}"))
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("sec-fetch-site", "same-origin")
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(browser.send().await.unwrap().status(), 200);
    let noted = devices().await;
    assert!(noted.contains("\"name\":\"Firefox on Linux\"") && noted.contains("\"ip\":\"203.0.113.9\""), "{noted}");
    assert_eq!(me(format!("session={TOKEN}")).await.unwrap().status(), 401, "another cookie's name");
    assert_eq!(me(format!("authjs.session-tokenx={TOKEN}")).await.unwrap().status(), 401);
}
