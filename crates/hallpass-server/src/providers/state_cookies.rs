//! What a browser must bring back from a provider, kept in that browser.
//!
//! It lives in a cookie of that browser alone, authenticated with a key of the server, so the server keeps no state that strangers could fill. One cookie
//! for each `state`, and named after it, so that several tabs do not disturb each other; with the `__Host-` prefix over https, so
//! that no other host can plant one (login CSRF: threats A32, A39).

use std::fmt::Write as _;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How long a user may take at the provider.
const VALID_MS: i64 = 10 * 60 * 1_000;
/// Most of one kind that a browser has under way. The oldest makes room.
const MAX_UNDER_WAY: usize = 5;
/// Longest value that is looked at: browsers keep 4096 bytes.
const MAX_VALUE_BYTES: usize = 4_096;

/// Something that ends when the browser comes back from a provider.
pub(crate) trait UnderWay: Serialize + DeserializeOwned {
    /// What the names of its cookies begin with.
    const NAME: &'static str;
    /// What its key is called; the key serves nothing else, so no cookie passes for one of another kind.
    const KEY: &'static str;

    /// What the provider sends back.
    fn state(&self) -> &str;
    /// Milliseconds since the epoch.
    fn begun_at(&self) -> i64;
}

/// What became of the search for a `state`.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// It is this browser's and under way.
    UnderWay(Box<T>),
    /// It is this browser's, and took too long.
    Expired,
    /// This browser has none of that state.
    Unknown,
}

/// Writes and reads the cookies.
#[derive(Debug)]
pub(crate) struct StateCookies<T> {
    key: SecretString,
    secure: bool,
    kind: PhantomData<fn() -> T>,
}

impl<T: UnderWay> StateCookies<T> {
    /// `secret` is the server's; the key made of it serves nothing else.
    pub(crate) fn new(secret: &SecretString, secure: bool) -> Self {
        let digest = Sha256::new()
            .chain_update(T::KEY.as_bytes())
            .chain_update(b"\0")
            .chain_update(secret.expose_secret().as_bytes())
            .finalize();
        Self { key: SecretString::from(URL_SAFE_NO_PAD.encode(digest)), secure, kind: PhantomData }
    }

    /// The cookies that begin one: its own, and the removal of those for which there is no room.
    pub(crate) fn cookies(&self, headers: &HeaderMap, begun: &T) -> Vec<HeaderValue> {
        let mut others: Vec<(i64, String)> = self.all(headers);
        // Those that cannot be read go first, then the oldest.
        others.sort();
        let surplus = (others.len() + 1).saturating_sub(MAX_UNDER_WAY);
        let removed = others.into_iter().take(surplus).filter_map(|(_, name)| self.removal_of(&name));
        let own = self.sealed(begun).and_then(|value| {
            self.cookie(&format!("{}={value}; Max-Age={}", self.name(begun.state()), VALID_MS / 1_000))
        });
        removed.chain(own).collect()
    }

    /// The removal of the cookie of `state`, found or not.
    pub(crate) fn removal(&self, state: &str) -> Option<HeaderValue> {
        self.removal_of(&self.name(state))
    }

    /// What this browser holds of `state`.
    pub(crate) fn find(&self, headers: &HeaderMap, state: &str, now_ms: i64) -> Found<T> {
        let name = self.name(state);
        let held = pairs(headers)
            .filter(|(held, _)| *held == name.as_bytes())
            .take(MAX_UNDER_WAY)
            .filter_map(|(_, value)| self.opened(value))
            .find(|held| bool::from(held.state().as_bytes().ct_eq(state.as_bytes())));
        match held {
            Some(held) if (0..VALID_MS).contains(&now_ms.saturating_sub(held.begun_at())) => {
                Found::UnderWay(Box::new(held))
            }
            Some(_) => Found::Expired,
            None => Found::Unknown,
        }
    }

    fn prefix(&self) -> String {
        format!("{}{}", if self.secure { "__Host-" } else { "" }, T::NAME)
    }

    /// The state itself stays inside the value: names of cookies are logged more often than values.
    fn name(&self, state: &str) -> String {
        Sha256::digest(state.as_bytes()).iter().take(8).fold(self.prefix(), |mut name, byte| {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        })
    }

    /// When each of ours began, and its name.
    fn all(&self, headers: &HeaderMap) -> Vec<(i64, String)> {
        let prefix = self.prefix();
        pairs(headers)
            .filter(|(name, _)| name.starts_with(prefix.as_bytes()))
            .filter_map(|(name, value)| {
                let name = std::str::from_utf8(name).ok()?;
                let sound = name[prefix.len()..].bytes().all(|byte| byte.is_ascii_hexdigit()) && name.len() < 64;
                sound.then(|| (self.opened(value).map_or(i64::MIN, |held| held.begun_at()), name.to_owned()))
            })
            .collect()
    }

    fn removal_of(&self, name: &str) -> Option<HeaderValue> {
        self.cookie(&format!("{name}=; Max-Age=0"))
    }

    /// Lax and not Strict: the provider's redirect back is a navigation from another site.
    fn cookie(&self, text: &str) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let mut cookie = HeaderValue::try_from(format!("{text}; Path=/; HttpOnly{secure}; SameSite=Lax")).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    fn sealed(&self, begun: &T) -> Option<String> {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(begun).ok()?);
        let tag = URL_SAFE_NO_PAD.encode(self.tag(&payload)?);
        Some(format!("{payload}.{tag}"))
    }

    fn opened(&self, value: &[u8]) -> Option<T> {
        if value.len() > MAX_VALUE_BYTES {
            return None;
        }
        let (payload, tag) = std::str::from_utf8(value).ok()?.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let genuine: bool = self.tag(payload)?.as_slice().ct_eq(tag.as_slice()).into();
        if !genuine {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    fn tag(&self, payload: &str) -> Option<Vec<u8>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes()).ok()?;
        mac.update(payload.as_bytes());
        Some(mac.finalize().into_bytes().to_vec())
    }
}

/// Names and values of all cookies.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((&pair[..at], &pair[at + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use hallpass_core::OsEntropy;

    use super::super::departure::{Departure, Departures};
    use super::super::transaction::{Transaction, Transactions};
    use super::*;

    const NAME: &str = Transaction::NAME;
    const NOW: i64 = 1_700_000_000_000;

    fn transactions() -> Transactions {
        Transactions::new(&SecretString::from("a secret of the server for the tests".to_owned()), false)
    }

    fn begun(at: i64) -> Transaction {
        Transaction::begin("corp", "http://127.0.0.1/x", at, &OsEntropy).unwrap()
    }

    fn pair(cookie: &HeaderValue) -> String {
        cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    fn sending(cookies: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookies).unwrap())])
    }

    #[test]
    fn a_transaction_comes_back_to_the_browser_that_began_it_and_to_no_other() {
        let transactions = transactions();
        let (mine, theirs) = (begun(NOW), begun(NOW));
        let cookies = transactions.cookies(&HeaderMap::new(), &mine);
        assert_eq!(cookies.len(), 1);
        let text = cookies[0].to_str().unwrap();
        assert!(text.ends_with("; Max-Age=600; Path=/; HttpOnly; SameSite=Lax"), "{text}");
        assert!(cookies[0].is_sensitive());
        let headers = sending(&format!("a=b; {}", pair(&cookies[0])));
        let Found::UnderWay(found) = transactions.find(&headers, &mine.state, NOW) else { panic!() };
        assert_eq!(
            (found.nonce, found.verifier, found.target),
            (mine.nonce.clone(), mine.verifier.clone(), mine.target.clone())
        );
        assert!(matches!(transactions.find(&headers, &theirs.state, NOW), Found::Unknown));
        assert!(matches!(transactions.find(&HeaderMap::new(), &mine.state, NOW), Found::Unknown));
        // Under the name of another state it is still not that state's.
        let renamed = pair(&cookies[0]).replace(&transactions.name(&mine.state), &transactions.name(&theirs.state));
        assert!(matches!(transactions.find(&sending(&renamed), &theirs.state, NOW), Found::Unknown));
    }

    #[test]
    fn a_cookie_of_one_kind_is_none_of_another() {
        let secret = SecretString::from("a secret of the server for the tests".to_owned());
        let (transactions, departures) = (transactions(), Departures::new(&secret, false));
        assert_ne!(transactions.tag("x"), departures.tag("x"));
        let mine = Departure::begin("corp", "http://127.0.0.1/x", NOW, &OsEntropy).unwrap();
        let cookie = pair(&departures.cookies(&HeaderMap::new(), &mine)[0]);
        assert!(matches!(departures.find(&sending(&cookie), &mine.state, NOW), Found::UnderWay(_)));
        assert!(!format!("{mine:?}").contains(&mine.state));
        let renamed = cookie.replace(Departure::NAME, Transaction::NAME);
        assert!(matches!(transactions.find(&sending(&renamed), &mine.state, NOW), Found::Unknown));
        // Sign-outs under way do not push out sign-ins.
        assert_eq!(transactions.cookies(&sending(&[cookie.as_str(); 5].join("; ")), &begun(NOW)).len(), 1);
    }

    #[test]
    fn a_transaction_ends_after_ten_minutes_and_is_none_before_it_began() {
        let transactions = transactions();
        let mine = begun(NOW);
        let headers = sending(&pair(&transactions.cookies(&HeaderMap::new(), &mine)[0]));
        let at = |ms| transactions.find(&headers, &mine.state, NOW + ms);
        assert!(matches!(at(VALID_MS - 1), Found::UnderWay(_)));
        assert!(matches!(at(VALID_MS), Found::Expired));
        assert!(matches!(at(-1), Found::Expired));
    }

    #[test]
    fn what_was_changed_or_made_elsewhere_is_unknown() {
        let transactions = transactions();
        let mine = begun(NOW);
        let cookie = pair(&transactions.cookies(&HeaderMap::new(), &mine)[0]);
        let other = Transactions::new(&SecretString::from("another secret".to_owned()), false);
        assert!(matches!(other.find(&sending(&cookie), &mine.state, NOW), Found::Unknown));
        let (name, value) = cookie.split_once('=').unwrap();
        let (payload, tag) = value.split_once('.').unwrap();
        let evil = Transaction { target: "https://evil.example/".to_owned(), ..mine.clone() };
        let evil = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&evil).unwrap());
        for forged in
            [format!("{evil}.{tag}"), format!("{payload}."), payload.to_owned(), format!("{payload}.{payload}")]
        {
            let headers = sending(&format!("{name}={forged}"));
            assert!(matches!(transactions.find(&headers, &mine.state, NOW), Found::Unknown), "{forged}");
        }
    }

    #[test]
    fn a_sixth_tab_pushes_out_the_oldest_and_what_cannot_be_read() {
        let transactions = transactions();
        let mut cookies = vec![format!("{NAME}00ff=junk")];
        for n in 0..4 {
            cookies.push(pair(&transactions.cookies(&HeaderMap::new(), &begun(NOW + n))[0]));
        }
        let set = transactions.cookies(&sending(&cookies.join("; ")), &begun(NOW + 9));
        assert_eq!(set.len(), 2);
        assert_eq!(pair(&set[0]), format!("{NAME}00ff="));
        cookies.remove(0);
        cookies.push(pair(&set[1]));
        let set = transactions.cookies(&sending(&cookies.join("; ")), &begun(NOW + 10));
        assert_eq!(set.len(), 2);
        assert_eq!(pair(&set[0]), format!("{}=", cookies[0].split_once('=').unwrap().0));
    }

    #[test]
    fn over_https_no_other_host_can_plant_one_and_no_secret_is_shown() {
        let secure = Transactions::new(&SecretString::from("x".to_owned()), true);
        let mine = begun(NOW);
        let cookies = secure.cookies(&HeaderMap::new(), &mine);
        let text = cookies[0].to_str().unwrap();
        assert!(text.starts_with("__Host-hallpass.sign-in.") && text.contains("; Path=/; HttpOnly; Secure;"), "{text}");
        assert!(text.len() < MAX_VALUE_BYTES);
        let shown = format!("{mine:?} {secure:?}");
        for secret in [&mine.state, &mine.nonce, &mine.verifier] {
            assert!(!shown.contains(secret.as_str()));
        }
    }
}
