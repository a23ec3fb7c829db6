//! Who may come in is read again when the configuration or a secret changes; a bad one never replaces a good one (I12).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::first_problem;
use crate::api::App;
use crate::auth;
use crate::config::{self, Config};
use crate::watch::{self, WatchError, WatchGuard};

/// The daemon's own user.
pub(super) fn owner() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Watches the files that say who may come in. Without any there is nothing to watch.
pub(super) fn watch(app: &App, config: &Config) -> Result<Option<WatchGuard>, WatchError> {
    // A daemon that began without credentials checked its listeners for that; it does not change sides while it runs.
    let files = auth::files(&config.auth, config.file.as_deref());
    if files.is_empty() || config.auth.is_open() {
        return Ok(None);
    }
    let Some(file) = config.file.clone() else { return Ok(None) };
    let files = Arc::new(Mutex::new(files));
    let (app, watched) = (app.clone(), Arc::clone(&files));
    let guard = watch::spawn_files(files, watch::DEBOUNCE, move || match reload(&app, &file) {
        Ok(now) => {
            *watched.lock().unwrap_or_else(PoisonError::into_inner) = now;
            app.readiness.clear("auth");
            tracing::info!(credentials = app.auth.registry().len(), "credentials reloaded");
        }
        Err(why) => {
            tracing::error!("credentials not reloaded, the last good ones stay in force: {why}");
            app.readiness.warn("auth", why);
        }
    })?;
    Ok(Some(guard))
}

fn reload(app: &App, file: &Path) -> Result<Vec<PathBuf>, String> {
    let loaded = config::load(Some(file), &config::environment(), &[]);
    let settings = loaded.map_err(|error| first_problem(&error.problems))?.config.auth;
    if settings.is_open() {
        return Err("auth names nobody any more; a restart is needed to let everybody in".to_owned());
    }
    let registry = auth::load(&settings, owner()).map_err(|error| first_problem(&error.0))?;
    app.auth.replace(registry);
    Ok(auth::files(&settings, Some(file)))
}
