//! The bearer secret.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Entropy, EntropyError, SessionId};

const PREFIX: &[u8; 3] = b"hp_";
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 3;
const RAW_BYTES: usize = ID_BYTES + SECRET_BYTES + CHECKSUM_BYTES;

/// By the processor's vector instructions where there are some: reading a token was a tenth of a check from memory without them.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64URL: LazyLock<base64::engine::Simd> = LazyLock::new(|| base64::engine::Simd::url_safe(NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static BASE64URL: LazyLock<base64::engine::GeneralPurpose> =
    LazyLock::new(|| base64::engine::GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD));

/// The length of a token's text: the prefix and 68 characters of base64url. 51 bytes fill these exactly, so a token has
/// one spelling and no spare bits.
pub const TOKEN_CHARS: usize = PREFIX.len() + RAW_BYTES / 3 * 4;

/// The shortest text that another program's token may have. 16 characters of hexadecimal are 64 bits, the least that is taken for a session id
/// (OWASP ASVS 5.0, 7.2.3 asks for twice as much; which program makes how much is not ours to choose).
const FOREIGN_MIN: usize = 16;
/// What the columns of Auth.js's adapters hold.
const FOREIGN_MAX: usize = 255;

/// The bearer secret of a session.
///
/// Its text is `hp_` and the base64url of the session id (16 bytes), 32 bytes from the operating system's generator and a
/// 3-byte checksum (the upper bytes of CRC-32), so that garbage is refused without touching the store and secret scanners can
/// find a leaked one. It has no `Display`, its `Debug` is redacted, and its memory is overwritten when dropped. A store
/// only ever sees the [`TokenHash`].
///
/// ```
/// use hallpass_core::{OsEntropy, SessionId, Token};
///
/// let token = Token::generate(SessionId::from_bytes([1; 16]), &OsEntropy)?;
/// let text = token.expose();
/// assert!(text.as_str().starts_with("hp_"));
/// assert_eq!(Token::parse(text.as_str().as_bytes())?.id(), token.id());
/// assert!(!format!("{token:?}").contains(&text.as_str()[26..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A store that shares its table with another program ([`Store::shared_tokens`](crate::Store::shared_tokens)) also knows tokens of that program's
/// making, which are any text: [`Token::parse_foreign`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Token(Form);

#[derive(Zeroize, ZeroizeOnDrop)]
enum Form {
    /// The id, the secret and the checksum, as the text says them.
    Own([u8; RAW_BYTES]),
    /// The text.
    Foreign(Box<[u8]>),
}

/// Why bytes are no token. Carries nothing of them, so that it can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Another length than [`TOKEN_CHARS`], or without the prefix.
    #[error("not a hallpass token")]
    Form,
    /// Characters outside base64url.
    #[error("a token has characters that do not belong in one")]
    Alphabet,
    /// Damaged: a checksum that does not fit.
    #[error("a token is damaged (its checksum does not fit)")]
    Checksum,
}

impl Token {
    /// A new secret for the session `id`.
    ///
    /// # Errors
    /// When the generator fails; there is no fallback (A18).
    pub fn generate(id: SessionId, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut raw = Zeroizing::new([0; RAW_BYTES]);
        raw[..ID_BYTES].copy_from_slice(id.as_bytes());
        entropy.fill(&mut raw[ID_BYTES..ID_BYTES + SECRET_BYTES])?;
        let sum = checksum(&raw[..ID_BYTES + SECRET_BYTES]);
        raw[ID_BYTES + SECRET_BYTES..].copy_from_slice(&sum);
        Ok(Self(Form::Own(*raw)))
    }

    /// Reads a token from untrusted bytes. Costs no allocation and no store access.
    ///
    /// # Errors
    /// When the bytes are no token.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        if bytes.len() != TOKEN_CHARS {
            return Err(TokenError::Form);
        }
        let body = bytes.strip_prefix(PREFIX).ok_or(TokenError::Form)?;
        let mut raw = Zeroizing::new([0; RAW_BYTES]);
        let length = BASE64URL.decode_slice(body, raw.as_mut_slice()).map_err(|_| TokenError::Alphabet)?;
        let (payload, found) = raw.split_at(ID_BYTES + SECRET_BYTES);
        if length != RAW_BYTES || checksum(payload) != found {
            return Err(TokenError::Checksum);
        }
        Ok(Self(Form::Own(*raw)))
    }

    /// Reads a token that another program made: 16 to 255 letters, digits and marks of ASCII that a cookie can carry. Nothing in it can be checked, so that
    /// each one costs a reading of the store. [`Sessions::parse`](crate::Sessions::parse) does this where the store shares its table with such a program, and
    /// nowhere else.
    ///
    /// ```
    /// use hallpass_core::Token;
    ///
    /// let token = Token::parse_foreign(b"5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b")?;
    /// assert_eq!(token.expose().as_str(), "5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b");
    /// assert!(Token::parse_foreign(b"too short").is_err());
    /// # Ok::<(), hallpass_core::TokenError>(())
    /// ```
    ///
    /// # Errors
    /// When the bytes are no such text.
    pub fn parse_foreign(bytes: &[u8]) -> Result<Self, TokenError> {
        if !(FOREIGN_MIN..=FOREIGN_MAX).contains(&bytes.len()) {
            return Err(TokenError::Form);
        }
        // The bytes of a cookie's value (RFC 6265, section 4.1.1).
        if !bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(byte)) {
            return Err(TokenError::Alphabet);
        }
        Ok(Self(Form::Foreign(bytes.into())))
    }

    /// The text to give to the client, once. This is the only way to it, so that every use can be found by name.
    #[must_use]
    pub fn expose(&self) -> TokenText {
        let mut text = String::with_capacity(TOKEN_CHARS);
        match &self.0 {
            Form::Own(raw) => {
                text.push_str("hp_");
                BASE64URL.encode_string(raw, &mut text);
            }
            Form::Foreign(bytes) => text.extend(bytes.iter().map(|byte| char::from(*byte))),
        }
        TokenText(Zeroizing::new(text))
    }

    /// The public id that the token names. One of another program's names none: what it answers is a name for the log, a digest of the text, and the
    /// store alone knows the session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        let mut id = [0; ID_BYTES];
        match &self.0 {
            Form::Own(raw) => id.copy_from_slice(&raw[..ID_BYTES]),
            Form::Foreign(text) => {
                let digest = Sha256::new_with_prefix(b"a name for the log\0").chain_update(text).finalize();
                id.copy_from_slice(&digest[..ID_BYTES]);
            }
        }
        SessionId::from_bytes(id)
    }

    fn secret(&self) -> &[u8] {
        match &self.0 {
            Form::Own(raw) => &raw[ID_BYTES..ID_BYTES + SECRET_BYTES],
            Form::Foreign(text) => text,
        }
    }

    /// What a store keeps instead of the secret: SHA-256 of it, or HMAC-SHA-256 under the pepper.
    ///
    /// A fast digest is right for a secret of 256 random bits (OWASP ASVS 5.0, 6.5.2: stretching is for secrets below 112 bits).
    #[must_use]
    pub fn hash(&self, pepper: Option<&Pepper>) -> TokenHash {
        match pepper {
            None => TokenHash(Sha256::digest(self.secret()).into()),
            Some(pepper) => pepper.hash(self.secret()),
        }
    }

    /// SHA-256 of the whole text: what stands for the token where a table is shared, since another program hashes nothing less.
    #[must_use]
    pub fn digest(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.expose().as_str().as_bytes()).into())
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, _] = crc32fast::hash(payload).to_be_bytes();
    [a, b, c]
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, secret redacted)", self.id())
    }
}

/// The text of a token on its way to the client. Redacted in `Debug`, overwritten when dropped.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// The text. Do not log it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(redacted)")
    }
}

/// What a store keeps of a token. It is no credential: presented as one it does not parse, and hashed it is another value
/// (A14).
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// From the 32 bytes that a store kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are equal, in constant time (A17). By words: byte by byte it takes six times as long.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let (own, _) = self.0.as_chunks::<8>();
        let (others, _) = other.0.as_chunks::<8>();
        let equal = own.iter().zip(others).map(|(a, b)| u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b)));
        equal.fold(Choice::from(1), |all, word| all & word).into()
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other)
    }
}
impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

/// An application's own key over the stored hashes: a copied database alone then says nothing even about guessed secrets.
/// Changing it ends every session.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

/// The pepper is too short to be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pepper needs at least 32 bytes, this one has {0}; make one with: openssl rand -base64 32")]
pub struct PepperError(pub usize);

impl Pepper {
    /// A pepper from at least 32 bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn new(key: &[u8]) -> Result<Self, PepperError> {
        if key.len() < 32 {
            return Err(PepperError(key.len()));
        }
        Hmac::new_from_slice(key).map(Self).map_err(|_| PepperError(key.len()))
    }

    fn hash(&self, secret: &[u8]) -> TokenHash {
        TokenHash(self.0.clone().chain_update(secret).finalize().into_bytes().into())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsEntropy;

    fn token() -> Token {
        Token::generate(SessionId::from_bytes([9; 16]), &OsEntropy).unwrap()
    }

    #[derive(Debug)]
    struct Given([u8; 32]);
    impl Entropy for Given {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.copy_from_slice(&self.0);
            Ok(())
        }
    }

    fn with_secret(secret: [u8; 32]) -> Token {
        Token::generate(SessionId::from_bytes([9; 16]), &Given(secret)).unwrap()
    }

    #[test]
    fn text_has_one_fixed_form_and_reads_back() {
        let token = token();
        let text = token.expose();
        assert_eq!(text.as_str().len(), TOKEN_CHARS);
        let again = Token::parse(text.as_str().as_bytes()).unwrap();
        assert_eq!(again.secret(), token.secret());
        assert_eq!((again.id(), again.expose().as_str()), (token.id(), text.as_str()));
    }

    #[test]
    fn every_single_flipped_bit_and_every_swap_of_neighbours_is_refused() {
        let text = token().expose();
        let bytes = text.as_str().as_bytes();
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[position] ^= 1 << bit;
                assert!(Token::parse(&damaged).is_err(), "byte {position}, bit {bit}");
            }
        }
        for position in PREFIX.len()..bytes.len() - 1 {
            let mut damaged = bytes.to_vec();
            damaged.swap(position, position + 1);
            assert!(damaged == bytes || Token::parse(&damaged).is_err(), "swap at {position}");
        }
    }

    #[test]
    fn other_lengths_prefixes_and_bytes_are_refused() {
        let text = token().expose();
        let text = text.as_str();
        for bad in ["", "hp_", &text[..70], &format!("{text}A"), &format!("{text}="), &text.replace("hp_", "hq_")] {
            assert_eq!(Token::parse(bad.as_bytes()).unwrap_err(), TokenError::Form, "{}", bad.len());
        }
        let mut bytes = text.as_bytes().to_vec();
        for odd in [0_u8, 0xff, b'+', b'/', b'%', b' ', b'='] {
            bytes[40] = odd;
            assert_eq!(Token::parse(&bytes).unwrap_err(), TokenError::Alphabet, "{odd}");
        }
    }

    #[test]
    fn a14_the_stored_hash_is_no_credential() {
        let token = token();
        let hash = token.hash(None);
        let hex: String = hash.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert!(Token::parse(hex.as_bytes()).is_err());
        assert!(Token::parse(BASE64URL.encode(hash.as_bytes()).as_bytes()).is_err());
        let forged = with_secret(*hash.as_bytes());
        assert!(!forged.hash(None).matches(&hash));
    }

    #[test]
    fn hash_is_sha256_of_the_secret_alone_and_the_pepper_changes_it() {
        // SHA-256 of 32 zero bytes, from any other implementation.
        let token = with_secret([0; 32]);
        let hex: String = token.hash(None).as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
        let pepper = Pepper::new(&[1; 32]).unwrap();
        assert!(!token.hash(Some(&pepper)).matches(&token.hash(None)));
        assert!(token.hash(Some(&pepper)).matches(&token.hash(Some(&pepper.clone()))));
        assert_eq!(Pepper::new(b"short").unwrap_err(), PepperError(5));
    }

    #[test]
    fn another_programs_token_is_its_text_and_names_no_session() {
        let text = "5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b";
        let token = Token::parse_foreign(text.as_bytes()).unwrap();
        assert_eq!(token.expose().as_str(), text);
        // SHA-256 of the text, from any other implementation: what its hash at rest is, too.
        let hex: String = token.digest().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "b60cbaae12a69f4c2a3447ad75e9c041f32b417e379c239fc2afcb423719f3c8");
        assert!(token.hash(None).matches(&token.digest()));
        assert_ne!(token.id(), Token::parse_foreign(b"5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6c").unwrap().id());
        assert!(!format!("{token:?}").contains("5f0c9a52"));
        let own = self::token();
        assert!(!own.digest().matches(&own.hash(None)), "the digest is of the whole text");
        let longest = "a".repeat(255);
        assert!(Token::parse_foreign(longest.as_bytes()).is_ok());
        for (bad, why) in [
            ("fifteen-letters", TokenError::Form),
            (&*format!("{longest}a"), TokenError::Form),
            ("with a space in between", TokenError::Alphabet),
            ("with;semicolon;between", TokenError::Alphabet),
            ("not-ascii-\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", TokenError::Alphabet),
            ("zero\0zero\0zero\0zero", TokenError::Alphabet),
        ] {
            assert_eq!(Token::parse_foreign(bad.as_bytes()).unwrap_err(), why, "{bad:?}");
        }
    }

    #[test]
    fn a52_nothing_of_the_secret_is_in_debug() {
        let token = token();
        let text = token.expose();
        let shown = format!("{token:?} {text:?} {:?} {:?}", token.hash(None), Pepper::new(&[7; 32]).unwrap());
        assert!(!shown.contains(&text.as_str()[24..]));
        assert!(!shown.contains("[7, 7"));
    }

    #[derive(Debug)]
    struct BrokenEntropy;
    impl Entropy for BrokenEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError("no device".into()))
        }
    }

    #[test]
    fn a18_a_failing_generator_gives_no_token() {
        assert!(Token::generate(SessionId::from_bytes([0; 16]), &BrokenEntropy).is_err());
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Token::parse(&bytes);
        }
    }
}
