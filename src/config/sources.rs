//! Where a setting's value comes from: the three layers, and the sentence for a value that is wrong.

use std::{collections::BTreeMap, path::Path};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::Serialized,
    value::{Dict, Map, Value},
};

use super::{
    Settings,
    flags::{DEFAULTS, Flags, SECRET, names},
};
use crate::databases::nearest;

const COMMAND_LINE: &str = "the command line";
const ENVIRONMENT: &str = "the environment";
const ENVIRONMENT_PREFIX: &str = "TIDEGATE_";
const FILE: &str = "tidegate.toml";

/// A setting that is wrong: one sentence with its name, its source and the remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SettingError(String);

impl SettingError {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// Texts by name, as a layer.
struct Texts {
    source: &'static str,
    values: BTreeMap<String, String>,
}

impl Provider for Texts {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict: Dict = self.values.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
        Ok(Profile::Default.collect(dict))
    }
}

/// The three layers, and the file that was read.
pub(super) struct Sources {
    figment: Figment,
    file: String,
}

impl Sources {
    pub(super) fn open(flags: &Flags, environment: &[(String, String)]) -> Result<Self, SettingError> {
        let variable = |name: &str| environment.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        let wanted = flags.config.clone().or_else(|| variable("TIDEGATE_CONFIG"));
        let file = wanted.clone().unwrap_or_else(|| FILE.into());
        let mut figment = Figment::new();
        match std::fs::read_to_string(Path::new(&file)) {
            Ok(text) => {
                figment = figment.merge(Serialized::defaults(read_file(&file, &text)?));
            }
            Err(error) if wanted.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(SettingError::new(format!("cannot read the settings in {file}: {error}; check its path")));
            }
        }
        figment = figment
            .merge(Texts { source: ENVIRONMENT, values: from_environment(environment)? })
            .merge(Texts { source: COMMAND_LINE, values: flags.given() });
        Ok(Self { figment, file })
    }

    /// A setting that has a default.
    pub(super) fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingError> {
        let default = DEFAULTS.iter().find(|(known, _)| *known == name).map_or("", |(_, default)| *default);
        let text = self.text(name)?.unwrap_or_else(|| default.to_owned());
        parse(&text).map_err(|problem| self.wrong(name, &problem))
    }

    /// A setting that may be absent.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingError> {
        self.text(name)?.map(|text| parse(&text).map_err(|problem| self.wrong(name, &problem))).transpose()
    }

    /// The sentence for this setting. `problem` begins with a verb and ends with the remedy.
    pub(super) fn wrong(&self, name: &str, problem: &str) -> SettingError {
        let shown = match self.text(name) {
            Ok(Some(text)) if !SECRET.contains(&name) => format!(" is `{text}`"),
            _ => String::new(),
        };
        let source = self.source(name);
        SettingError::new(if shown.is_empty() {
            format!("setting `{name}` ({source}) {problem}")
        } else {
            format!("setting `{name}`{shown} ({source}): it {problem}")
        })
    }

    /// Both forms of the master key are given: the one from the more telling source counts.
    pub(super) fn settle_master_key(&self, mut settings: Settings) -> Result<Settings, SettingError> {
        match self.rank("master_key").cmp(&self.rank("master_key_file")) {
            std::cmp::Ordering::Greater => settings.master_key_file = None,
            std::cmp::Ordering::Less => settings.master_key = None,
            std::cmp::Ordering::Equal => {
                return Err(self.wrong("master_key", "stands beside `master_key_file`; give one of the two"));
            }
        }
        Ok(settings)
    }

    fn text(&self, name: &str) -> Result<Option<String>, SettingError> {
        match self.figment.find_value(name) {
            Err(_) => Ok(None),
            Ok(Value::String(_, text)) => Ok(Some(text)),
            Ok(Value::Num(_, number)) => Ok(Some(match number.to_i128() {
                Some(whole) => whole.to_string(),
                None => number.to_f64().map(|number| number.to_string()).unwrap_or_default(),
            })),
            Ok(Value::Bool(_, flag)) => Ok(Some(flag.to_string())),
            Ok(_) => Err(SettingError::new(format!(
                "setting `{name}` ({}) is a list or a table; give one text or number",
                self.source(name)
            ))),
        }
    }

    fn rank(&self, name: &str) -> u8 {
        match self.figment.find_metadata(name).map(|metadata| metadata.name.as_ref()) {
            Some(COMMAND_LINE) => 3,
            Some(ENVIRONMENT) => 2,
            Some(_) => 1,
            None => 0,
        }
    }

    fn source(&self, name: &str) -> String {
        match self.rank(name) {
            3 => format!("from the flag --{}", name.replace('_', "-")),
            2 => format!("from the environment variable {ENVIRONMENT_PREFIX}{}", name.to_uppercase()),
            1 => format!("from the file {}", self.file),
            _ => "by default".into(),
        }
    }
}

fn read_file(file: &str, text: &str) -> Result<toml::Table, SettingError> {
    let table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        SettingError::new(format!("{file}, line {line}: {}", error.message().replace('\n', ", ")))
    })?;
    let known = names();
    for name in table.keys() {
        if !known.iter().any(|(known, _)| known == name) {
            let hint = match nearest(name, known.iter().map(|(name, _)| name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`tidegate --help` lists them".into(),
            };
            return Err(SettingError::new(format!("{file}: there is no setting `{name}`; {hint}")));
        }
    }
    Ok(table)
}

/// Variables of other programs may share the prefix, so only near misses are refused.
fn from_environment(environment: &[(String, String)]) -> Result<BTreeMap<String, String>, SettingError> {
    let known = names();
    let mut values = BTreeMap::new();
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX).map(str::to_lowercase) else { continue };
        if known.iter().any(|(known, _)| *known == name) {
            values.insert(name, value.clone());
        } else if let Some((near, _)) = known.iter().find(|(known, _)| strsim::osa_distance(known, &name) == 1) {
            return Err(SettingError::new(format!(
                "there is no setting for the environment variable {variable}; did you mean {ENVIRONMENT_PREFIX}{}?",
                near.to_uppercase()
            )));
        }
    }
    Ok(values)
}
