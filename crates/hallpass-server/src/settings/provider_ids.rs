//! Which identity providers the configuration names. Their ids are the operator's own words, so their settings stand in no fixed list.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use super::definition;
use super::error::{Origin, SettingsError};

/// Most providers: each is a button on the sign-in page.
pub(super) const MAX_PROVIDERS: usize = 20;

const PREFIX: &str = "HALLPASS_PROVIDERS_";

/// Whether `id` can stand in an address, a cookie's value and, in capitals with `_` for `-`, the name of a variable. `credentials` is the
/// sign-in with a password.
pub(super) fn is_id(id: &str) -> bool {
    let letters = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    letters && (1..=32).contains(&id.len()) && id.starts_with(|c: char| c.is_ascii_lowercase()) && id != "credentials"
}

/// The ids in `HALLPASS_PROVIDERS_<ID>_<SETTING>`. What ends in none of the settings names no provider, and is unknown to whoever reads
/// the environment.
pub(super) fn in_environment<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> BTreeSet<String> {
    // "CLIENT_SECRET_FILE" before what it ends in.
    let mut ends: Vec<String> = definition::of_provider("x")
        .flat_map(|setting| {
            let end = setting.env.strip_prefix("HALLPASS_PROVIDERS_X").unwrap_or_default().to_owned();
            let file = setting.may_be_file().then(|| format!("{end}_FILE"));
            [Some(end), file].into_iter().flatten()
        })
        .collect();
    ends.sort_by_key(|end| std::cmp::Reverse(end.len()));
    let id = |name: Cow<'_, str>| {
        let rest = name.strip_prefix(PREFIX)?;
        let id = ends.iter().find_map(|end| rest.strip_suffix(end.as_str()))?.to_lowercase().replace('_', "-");
        is_id(&id).then_some(id)
    };
    names.filter_map(id).collect()
}

/// The ids in `[providers.<id>]`.
pub(super) fn in_file(table: &toml::Table, path: &Path) -> Result<BTreeSet<String>, SettingsError> {
    let Some(toml::Value::Table(providers)) = table.get("providers") else {
        return Ok(BTreeSet::new());
    };
    let id = |id: &String| {
        if is_id(id) {
            return Ok(id.clone());
        }
        let key = format!("providers.{id}");
        Err(SettingsError::Invalid {
            origin: Origin::File { path: path.to_owned(), key: key.clone() },
            key,
            problem: "a provider cannot have this id".to_owned(),
            fix: "use 1 to 32 small letters, digits and -, beginning with a letter; `credentials` is taken".to_owned(),
        })
    };
    providers.keys().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_names_of_variables() {
        let names = [
            "HALLPASS_PROVIDERS_CORP_ISSUER",
            "HALLPASS_PROVIDERS_MY_CORP_2_CLIENT_SECRET_FILE",
            "HALLPASS_PROVIDERS_CLIENT_ID",
            "HALLPASS_PROVIDERS_CREDENTIALS_ISSUER",
            "HALLPASS_PROVIDERS_2_ISSUER",
            "HALLPASS_PROVIDERS_X_ISSUERS",
            "HALLPASS_LISTEN",
        ];
        let found = in_environment(names.into_iter().map(Cow::Borrowed));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["corp", "my-corp-2"]);
    }
}
