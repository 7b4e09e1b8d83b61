//! The link that creates the first account.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass_core::{Entropy, Timestamp};

use crate::accounts::Accounts;
use crate::pages::SETUP;
use crate::pages::setup::code_hash;

/// How long the link works.
const VALID_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A new link, in place of any earlier one; `None` when there are accounts. Only the code's hash is stored.
pub(super) async fn offer(
    accounts: &dyn Accounts,
    entropy: &dyn Entropy,
    now_ms: i64,
    origin: &str,
) -> Result<Option<String>> {
    let mut bytes = [0_u8; 32];
    entropy.fill(&mut bytes).context("no code for the first account could be made")?;
    let code = URL_SAFE_NO_PAD.encode(bytes);
    let expires = Timestamp::from_millis(now_ms).plus(VALID_FOR);
    let offered = accounts
        .offer_setup(code_hash(&code), expires.as_millis())
        .await
        .context("the code for the first account could not be stored")?;
    Ok(offered.then(|| format!("{origin}{SETUP}?code={code}")))
}
