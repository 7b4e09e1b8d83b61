//! What no well-behaved client sends (issue item 10; A20 to A24, A29).

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::App;

/// Sends raw bytes and answers the status, or 0 when the server closed without a word.
async fn raw(app: &App, head: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    // The server may answer and close before all is sent.
    let _ = stream.write_all(head).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect("the server hangs");
    let text = String::from_utf8_lossy(&answer);
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn request(path: &str, cookie: &[u8]) -> Vec<u8> {
    [format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: ").as_bytes(), cookie, b"\r\n\r\n"]
        .concat()
}

#[tokio::test]
async fn a21_a_hundred_kilobytes_of_cookie_are_431_and_nobody() {
    let app = App::start().await;
    let token = app.signed_in("alice").await.token().to_owned();
    for padding in [16 * 1024, 100_000] {
        let cookie = format!("session={token}; a={}", "x".repeat(padding));
        assert_eq!(raw(&app, &request("/me", cookie.as_bytes())).await, 431, "{padding}");
        assert_eq!(raw(&app, &request("/maybe", cookie.as_bytes())).await, 431, "{padding}");
    }
    let cookie = format!("session={token}; a={}", "x".repeat(16_000));
    assert_eq!(raw(&app, &request("/me", cookie.as_bytes())).await, 200, "below the bound it works");
}

#[tokio::test]
async fn a20_two_hundred_cookies_are_431() {
    let app = App::start().await;
    let token = app.signed_in("alice").await.token().to_owned();
    let with = |others: usize| {
        let others: Vec<String> = (0..others).map(|n| format!("c{n}=v")).collect();
        format!("{}; session={token}", others.join("; "))
    };
    assert_eq!(raw(&app, &request("/me", with(99).as_bytes())).await, 200);
    assert_eq!(raw(&app, &request("/me", with(100).as_bytes())).await, 431);
    assert_eq!(raw(&app, &request("/me", with(200).as_bytes())).await, 431);
    assert_eq!(raw(&app, &request("/me", "a=;".repeat(5000).as_bytes())).await, 431);
    let answer = app.browser().send("GET", "/me", &[("cookie", &with(200))], "").await;
    assert_eq!(answer.body, r#"{"error":"Request Header Fields Too Large"}"#);
}

#[tokio::test]
async fn nul_and_bytes_outside_utf8_admit_nobody() {
    let app = App::start().await;
    let token = app.signed_in("alice").await.token().to_owned();
    let reads = app.store.reads.load(Ordering::SeqCst);
    for odd in [&b"\xff\xfe"[..], b"\xc3\x28", b"\x80", b"\xe2\x80\x80"] {
        for cookie in [
            [b"session=", odd, token.as_bytes()].concat(),
            [b"session=", token.as_bytes(), odd].concat(),
            [odd, b"session=", token.as_bytes()].concat(),
        ] {
            assert_eq!(raw(&app, &request("/me", &cookie)).await, 401, "{cookie:?}");
        }
        let beside = [b"other=", odd, b"; session=", token.as_bytes()].concat();
        assert_eq!(raw(&app, &request("/me", &beside)).await, 200, "another's cookie is its own affair");
    }
    for refused_by_the_http_layer in [&b"session=\0"[..], b"session=a\0b", b"session=a\rb", b"session=\x7f"] {
        assert_eq!(
            raw(&app, &request("/me", refused_by_the_http_layer)).await / 100,
            4,
            "{refused_by_the_http_layer:?}"
        );
    }
    assert_eq!(app.store.reads.load(Ordering::SeqCst), reads + 4, "none of the broken ones was looked up");
}

#[tokio::test]
async fn every_flipped_bit_is_401_without_a_look_at_the_store() {
    let app = App::start().await;
    let browser = app.signed_in("alice").await;
    let token = browser.token().to_owned().into_bytes();
    let mut client = app.browser();
    let reads = app.store.reads.load(Ordering::SeqCst);
    for position in 0..token.len() {
        for bit in 0..7 {
            let mut damaged = token.clone();
            damaged[position] ^= 1 << bit;
            // What no header can carry, or what ends the cookie, is another test's.
            if damaged[position] < b' ' || damaged[position] == 0x7f {
                continue;
            }
            let damaged = String::from_utf8(damaged).unwrap();
            let answer = client.send("GET", "/me", &[("cookie", &format!("session={damaged}"))], "").await;
            assert_eq!(answer.status, 401, "byte {position}, bit {bit}");
        }
    }
    assert_eq!(app.store.reads.load(Ordering::SeqCst), reads);
    assert_eq!(browser.copy().me().await.status, 200, "and the session took no harm");
}

#[tokio::test]
async fn a22_a23_a24_other_spellings_over_the_wire() {
    let app = App::https().await;
    let token = app.signed_in("alice").await.token().to_owned();
    let ours = format!("__Host-session={token}");
    for (cookie, status) in [
        (ours.clone(), 200),
        (format!("={ours}"), 401),
        (format!("\u{2000}{ours}"), 401),
        (ours.replace("__Host", "__HOST"), 401),
        (format!("$Version=1; a=\"x; {ours}; y\""), 200),
        (format!("$Version=1; {ours}"), 200),
        (format!("__Host-session=\"{token}\""), 401),
        (format!("a=b, {ours}"), 401),
    ] {
        assert_eq!(raw(&app, &request("/me", cookie.as_bytes())).await, status, "{}", cookie.replace(&token, "TOKEN"));
    }
}
