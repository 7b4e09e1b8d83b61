//! Signed tokens with the content of a session, and their verification: what cached checks are compared with.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::{Error, USER_AGENT};

/// An Ed25519 key in PKCS#8 for measurements alone, and its public half (RFC 8410, section 10.3).
const PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

/// What a handler gets to know of a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    pub sub: String,
    pub sid: String,
    pub iat: u64,
    pub exp: u64,
    pub auth_time: u64,
    pub amr: Vec<String>,
    pub source: String,
    pub ip: String,
    pub user_agent: String,
    pub tenant: String,
}

/// Signs and verifies by one algorithm.
pub struct Jwt {
    header: Header,
    signing: EncodingKey,
    verifying: DecodingKey,
    rules: Validation,
}

impl Jwt {
    /// `hs256` or `eddsa`.
    pub fn new(algorithm: &str) -> Result<Self, Error> {
        let (algorithm, signing, verifying) = match algorithm {
            "hs256" => (Algorithm::HS256, EncodingKey::from_secret(&[7; 32]), DecodingKey::from_secret(&[7; 32])),
            "eddsa" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(PRIVATE)?, DecodingKey::from_ed_pem(PUBLIC)?),
            other => return Err(format!("no algorithm {other}").into()),
        };
        Ok(Self { header: Header::new(algorithm), signing, verifying, rules: Validation::new(algorithm) })
    }

    pub fn sign(&self, number: usize) -> Result<String, Error> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let claims = Claims {
            sub: format!("user-{number:07}"),
            sid: format!("0199b1c4-7f2a-7c3e-9d1b-{number:012x}"),
            iat: now,
            exp: now + 30 * 86_400,
            auth_time: now,
            amr: vec!["pwd".into()],
            source: "credentials".into(),
            ip: format!("192.0.2.{}", number % 250),
            user_agent: String::from_utf8_lossy(USER_AGENT).into_owned(),
            tenant: "acme".into(),
        };
        Ok(encode(&self.header, &claims, &self.signing)?)
    }

    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        Ok(decode::<Claims>(token, &self.verifying, &self.rules)?.claims)
    }
}
