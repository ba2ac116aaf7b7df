//! The few keys that a deployment sets without a file.

use super::scalar::Scalar;
use super::{Config, ConfigError, Environment, Name, SecretSource, check};

/// Lays the environment over the file. A variable that is empty counts as not set, as compose files leave them.
pub(super) fn apply(config: &mut Config, env: Environment<'_>) -> Result<(), ConfigError> {
    set(&mut config.listen, "CREDITGATE_LISTEN", env)?;
    set(&mut config.admin_listen, "CREDITGATE_ADMIN_LISTEN", env)?;
    set(&mut config.ledger, "CREDITGATE_LEDGER", env)?;
    if let Some(source) = secret("CREDITGATE_ADMIN_TOKEN", env) {
        config.admin_token = source;
    }
    for (name, provider) in &mut config.providers {
        let variable = variable_part(name);
        set(&mut provider.base_url, &format!("CREDITGATE_{variable}_BASE_URL"), env)?;
        if let Some(source) = secret(&format!("CREDITGATE_{variable}_KEY"), env) {
            provider.key = Some(source);
        }
    }
    check::all(config)?;
    check::outage(config)
}

/// A provider's name as it stands in the names of its variables.
pub(super) fn variable_part(provider: &Name) -> String {
    provider.as_str().to_ascii_uppercase().replace('-', "_")
}

fn set<T: Scalar>(value: &mut T, name: &str, env: Environment<'_>) -> Result<(), ConfigError> {
    let Some(text) = env(name).filter(|text| !text.is_empty()) else { return Ok(()) };
    // The text is not repeated: an address may hold a password.
    *value = T::from_text(&text).ok_or_else(|| ConfigError::Environment {
        name: name.to_owned(),
        message: format!("expected {}", T::EXPECTED),
    })?;
    Ok(())
}

/// Only the place of a secret is kept; it is read when it is needed, like every other.
fn secret(name: &str, env: Environment<'_>) -> Option<SecretSource> {
    env(name).filter(|text| !text.is_empty()).map(|_| SecretSource::Env(name.to_owned()))
}
