//! The low half of the configuration: which text each setting has and who said so. Nothing is
//! interpreted here but precedence: flags over environment over `hallpass.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use zeroize::Zeroizing;

use super::definition::{self, CONFIG_ENV, CONFIG_FILE, Setting};
use super::error::{Origin, SettingsError};
use super::provider_ids;

/// Largest configuration file, in bytes.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;
/// Largest file holding one value, in bytes.
const MAX_VALUE_BYTES: u64 = 64 * 1024;

/// A value before it is read.
pub(super) struct Raw {
    /// The text, without surrounding blanks.
    pub(super) text: Zeroizing<String>,
    /// Who said so.
    pub(super) origin: Origin,
}

/// Never shows the text: it may be a secret.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The text of every setting that somebody set.
#[derive(Debug, Default)]
pub struct Sources {
    values: BTreeMap<String, Raw>,
    file: Option<PathBuf>,
    providers: BTreeSet<String>,
}

impl Sources {
    /// Gathers flags, `environment` and the configuration file (`--config`, `HALLPASS_CONFIG`, or
    /// `hallpass.toml` in `directory` if it is there), and reads the files named by `..._FILE`.
    ///
    /// A blank environment variable counts as not set, since container tools cannot unset one.
    ///
    /// # Errors
    /// An unknown key or `HALLPASS_` variable, a setting given twice in one place, a file that cannot
    /// be read or is not TOML.
    pub fn gather(
        flags: &ArgMatches,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        directory: &Path,
    ) -> Result<Self, SettingsError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let mut providers = provider_ids::in_environment(environment.iter().map(|(name, _)| name.to_string_lossy()));
        let environment = read_environment(environment, &settings_with(&providers))?;
        let (file, table) = read_config_file(flags, &environment, directory)?;
        if let Some(path) = &file {
            providers.extend(provider_ids::in_file(&table, path)?);
        }
        let settings = settings_with(&providers);
        let mut keys = BTreeMap::new();
        if let Some(path) = &file {
            flatten("", table, &known_keys(&settings), path, &mut keys)?;
        }
        let mut values = BTreeMap::new();
        for setting in &settings {
            let found = match from_flags(setting, flags)? {
                Some(found) => Some(found),
                None => match from_environment(setting, &environment)? {
                    Some(found) => Some(found),
                    None => from_file(setting, &keys, file.as_deref())?,
                },
            };
            if let Some(found) = found {
                values.insert(setting.key.clone(), found.read(&setting.key)?);
            }
        }
        Ok(Self { values, file, providers })
    }

    /// The configuration file that was read, if any.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The ids of the identity providers that somebody set something of.
    pub(super) fn providers(&self) -> &BTreeSet<String> {
        &self.providers
    }

    pub(super) fn get(&self, key: &str) -> Option<&Raw> {
        self.values.get(key)
    }

    /// Who set `key`.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Default, |raw| raw.origin.clone())
    }
}

/// A value, or the path of the file that holds it.
struct Found {
    text: Zeroizing<String>,
    is_path: bool,
    origin: Origin,
}

impl Found {
    fn read(self, key: &str) -> Result<Raw, SettingsError> {
        if !self.is_path {
            return Ok(Raw { text: Zeroizing::new(self.text.trim().to_owned()), origin: self.origin });
        }
        let path = PathBuf::from(self.text.as_str());
        let text = read_bounded(&path, MAX_VALUE_BYTES).map_err(|problem| SettingsError::Unreadable {
            path: path.clone(),
            origin: self.origin.clone(),
            problem,
        })?;
        let trimmed = Zeroizing::new(text.trim().to_owned());
        // An empty secret file is a broken mount far more often than a wish to have no secret.
        if trimmed.is_empty() {
            return Err(SettingsError::Invalid {
                key: key.to_owned(),
                origin: self.origin,
                problem: format!("the file {} is empty", path.display()),
                fix: "write the value into it, or do not name it".to_owned(),
            });
        }
        Ok(Raw { text: trimmed, origin: self.origin })
    }
}

/// The text of a flag of one command, `--NAME TEXT` or `--NAME-file PATH`, of which at most one is given.
pub(super) fn of_flag(name: &str, text: Option<&str>, path: Option<&Path>) -> Result<Option<Raw>, SettingsError> {
    let found = |text: String, is_path: bool, flag: String| Found {
        text: Zeroizing::new(text),
        is_path,
        origin: Origin::Flag(flag),
    };
    let found = match (text, path) {
        (Some(text), _) => found(text.to_owned(), false, name.to_owned()),
        (None, Some(path)) => found(path.to_string_lossy().into_owned(), true, format!("{name}-file")),
        (None, None) => return Ok(None),
    };
    found.read(name).map(Some)
}

fn from_flags(setting: &Setting, flags: &ArgMatches) -> Result<Option<Found>, SettingsError> {
    let found = |flag: Option<String>, is_path: bool| {
        let flag = flag?;
        let text = flags.try_get_one::<String>(&flag).ok().flatten()?;
        Some(Found { text: Zeroizing::new(text.clone()), is_path, origin: Origin::Flag(flag) })
    };
    one_of(setting, [found(setting.flag(), false), found(setting.file_flag(), true)])
}

fn from_environment(
    setting: &Setting,
    environment: &BTreeMap<String, Zeroizing<String>>,
) -> Result<Option<Found>, SettingsError> {
    let mut found = Vec::new();
    for name in setting.env_names() {
        for (name, is_path) in [(name.to_owned(), false), (format!("{name}_FILE"), true)] {
            if is_path && !setting.may_be_file() {
                continue;
            }
            if let Some(text) = environment.get(&name) {
                found.push(Some(Found { text: text.clone(), is_path, origin: Origin::Env(name) }));
            }
        }
    }
    one_of(setting, found)
}

fn from_file(
    setting: &Setting,
    keys: &BTreeMap<String, Zeroizing<String>>,
    path: Option<&Path>,
) -> Result<Option<Found>, SettingsError> {
    let Some(path) = path else { return Ok(None) };
    let found = |key: String, is_path: bool| {
        keys.get(&key).map(|text| Found {
            text: text.clone(),
            is_path,
            origin: Origin::File { path: path.to_owned(), key },
        })
    };
    one_of(setting, [found(setting.key.clone(), false), found(format!("{}_file", setting.key), true)])
}

fn one_of(
    setting: &Setting,
    candidates: impl IntoIterator<Item = Option<Found>>,
) -> Result<Option<Found>, SettingsError> {
    let mut found: Option<Found> = None;
    for candidate in candidates.into_iter().flatten() {
        match &found {
            Some(first) if first.is_path != candidate.is_path || first.text != candidate.text => {
                return Err(SettingsError::Twice {
                    key: setting.key.clone(),
                    first: first.origin.clone(),
                    second: candidate.origin,
                });
            }
            Some(_) => {}
            None => found = Some(candidate),
        }
    }
    Ok(found)
}

/// Keeps the variables that belong to hallpass, blank ones left out.
fn read_environment(
    environment: Vec<(OsString, OsString)>,
    settings: &[Setting],
) -> Result<BTreeMap<String, Zeroizing<String>>, SettingsError> {
    let known = known_env_names(settings);
    let mut kept = BTreeMap::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        if !known.contains(&name) {
            if name.starts_with("HALLPASS_") {
                return Err(SettingsError::Unknown {
                    nearest: nearest(&name, &known),
                    name,
                    place: "the environment".to_owned(),
                });
            }
            continue;
        }
        let Ok(value) = value.into_string() else {
            return Err(SettingsError::Invalid {
                key: name.clone(),
                origin: Origin::Env(name),
                problem: "the value is not UTF-8".to_owned(),
                fix: "set it to plain text".to_owned(),
            });
        };
        if !value.trim().is_empty() {
            kept.insert(name, Zeroizing::new(value));
        }
    }
    Ok(kept)
}

/// All settings, those of these providers included.
fn settings_with(providers: &BTreeSet<String>) -> Vec<Setting> {
    let of_providers = providers.iter().flat_map(|id| definition::of_provider(id));
    definition::all().iter().cloned().chain(of_providers).collect()
}

fn known_env_names(settings: &[Setting]) -> Vec<String> {
    let mut names = vec![CONFIG_ENV.to_owned()];
    for setting in settings {
        for name in setting.env_names() {
            names.push(name.to_owned());
            if setting.may_be_file() {
                names.push(format!("{name}_FILE"));
            }
        }
    }
    names
}

fn known_keys(settings: &[Setting]) -> Vec<String> {
    let mut keys = Vec::new();
    for setting in settings {
        keys.push(setting.key.clone());
        if setting.may_be_file() {
            keys.push(format!("{}_file", setting.key));
        }
    }
    keys
}

/// The known name most like `name`.
fn nearest(name: &str, known: &[String]) -> String {
    known.iter().min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate)).cloned().unwrap_or_default()
}

type ConfigFile = (Option<PathBuf>, toml::Table);

fn read_config_file(
    flags: &ArgMatches,
    environment: &BTreeMap<String, Zeroizing<String>>,
    directory: &Path,
) -> Result<ConfigFile, SettingsError> {
    let named = flags
        .try_get_one::<String>("config")
        .ok()
        .flatten()
        .map(|path| (path.clone(), Origin::Flag("config".to_owned())))
        .or_else(|| environment.get(CONFIG_ENV).map(|path| (path.to_string(), Origin::Env(CONFIG_ENV.to_owned()))));
    let (path, origin) = match named {
        Some((path, origin)) => (PathBuf::from(path), origin),
        None => {
            let path = directory.join(CONFIG_FILE);
            match path.try_exists() {
                Ok(false) => return Ok((None, toml::Table::new())),
                // A file that is there but cannot be looked at must not be passed over.
                Ok(true) | Err(_) => (path, Origin::Default),
            }
        }
    };
    let text = read_bounded(&path, MAX_CONFIG_BYTES).map_err(|problem| SettingsError::Unreadable {
        path: path.clone(),
        origin,
        problem,
    })?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        SettingsError::Syntax {
            path: path.clone(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            // Only the first line of the parser's message, which never quotes the input.
            problem: error.message().lines().next().unwrap_or_default().to_owned(),
        }
    })?;
    Ok((Some(path), table))
}

fn flatten(
    prefix: &str,
    table: toml::Table,
    known: &[String],
    path: &Path,
    keys: &mut BTreeMap<String, Zeroizing<String>>,
) -> Result<(), SettingsError> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let is_known = known.contains(&key);
        if let toml::Value::Table(inner) = value {
            let section = format!("{key}.");
            if is_known {
                return Err(wrong_type(&key, path));
            }
            if inner.is_empty() && !known.iter().any(|known| known.starts_with(&section)) {
                return Err(unknown_key(key, known, path));
            }
            flatten(&key, inner, known, path, keys)?;
            continue;
        }
        if !is_known {
            return Err(unknown_key(key, known, path));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(switch) => switch.to_string(),
            toml::Value::Array(items) => items
                .iter()
                .map(|item| item.as_str())
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| wrong_type(&key, path))?
                .join(","),
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => {
                return Err(wrong_type(&key, path));
            }
        };
        keys.insert(key, Zeroizing::new(text));
    }
    Ok(())
}

fn unknown_key(key: String, known: &[String], path: &Path) -> SettingsError {
    SettingsError::Unknown { nearest: nearest(&key, known), name: key, place: path.display().to_string() }
}

fn wrong_type(key: &str, path: &Path) -> SettingsError {
    SettingsError::Invalid {
        key: key.to_owned(),
        origin: Origin::File { path: path.to_owned(), key: key.to_owned() },
        problem: "the value has the wrong type".to_owned(),
        fix: "use a text in quotes, a whole number, true or false, or a list of texts".to_owned(),
    }
}

fn read_bounded(path: &Path, most: u64) -> Result<Zeroizing<String>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = Zeroizing::new(String::new());
    file.take(most + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > most {
        return Err(format!("it is larger than {most} bytes"));
    }
    Ok(text)
}
