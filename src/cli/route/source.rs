//! The route that a command is about: one of the registry by its name, or one of a file that is not applied yet.

use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Args;
use tidegate_actors::{mapping::Mapping, ports::Destination as Database, route::RouteSpec};

use crate::{
    cli::{known, now_ms, settings},
    config::{Flags, Settings},
    registry::{
        Store,
        manifest::{Manifest, Mistaken},
        plan::{Means, plan},
        secrets::MasterKey,
    },
    resources::{Destination, Document},
    tables::look::{self, Uncompiled},
};

/// Which route.
#[derive(Args)]
pub(super) struct Which {
    /// A route's name, or a file that `tidegate apply` reads, applied or not (`-` is standard input)
    #[arg(value_name = "ROUTE|FILE.toml")]
    route: String,
    /// Which of the file's routes; needed where it has several
    #[arg(long = "route", value_name = "NAME")]
    of_file: Option<String>,
}

/// A route with what stands around it.
pub(super) struct Source {
    pub(super) settings: Settings,
    /// The registry, as it would be with the file applied.
    pub(super) document: Document,
    pub(super) route: RouteSpec,
    key: Option<MasterKey>,
}

impl Which {
    pub(super) async fn find(&self, flags: &Flags) -> anyhow::Result<Source> {
        let settings = settings(flags)?;
        let key = MasterKey::from_settings(&settings)?;
        let is_file = self.route == "-" || self.route.ends_with(".toml") || self.route.contains('/');
        let registry = async { Store::open(&settings.redis_url, &settings.prefix)?.load().await };
        if !is_file {
            let document = registry.await?.unwrap_or_default();
            if Path::new(&self.route).is_file() && !document.routes.iter().any(|route| route.name == self.route) {
                bail!("there is no route `{0}`; for the file of this name write ./{0}", self.route);
            }
            known("route", &self.route, document.routes.iter().map(|route| route.name.as_str()))?;
            let route = document.routes.iter().find(|route| route.name == self.route).cloned();
            let route = route.with_context(|| format!("there is no route `{}`", self.route))?;
            return Ok(Source { settings, document, route, key });
        }
        let manifest = self.read()?;
        let name = self.name_in(&manifest)?;
        // A file that says all there is to know needs no registry.
        let of_its_own = manifest.routes.iter().all(|entry| {
            manifest.destinations.iter().any(|one| one.name == entry.spec.destination)
                && manifest.applications.iter().any(|one| one.name == entry.spec.application)
        });
        let document = match registry.await {
            Ok(document) => document.unwrap_or_default(),
            Err(_) if of_its_own => Document::default(),
            Err(error) => return Err(error.into()),
        };
        let folder = Path::new(&self.route).parent().unwrap_or(Path::new("."));
        let means = Means {
            master_key: key.as_ref(),
            environment: &|name| std::env::var(name).ok(),
            folder,
            now_ms: now_ms()?,
            prune: false,
        };
        let plan = plan(&manifest, &document, &means).map_err(|mistaken| self.mistaken(&mistaken))?;
        let route = plan.document.routes.iter().find(|route| route.name == name).cloned();
        let route = route.with_context(|| format!("{} has no route `{name}`", self.route))?;
        Ok(Source { settings, document: plan.document, route, key })
    }

    fn read(&self) -> anyhow::Result<Manifest> {
        let text = if self.route == "-" {
            std::io::read_to_string(std::io::stdin().lock())
        } else {
            std::fs::read_to_string(&self.route)
        };
        let text = text.with_context(|| format!("cannot read {}; check the path and its rights", self.route))?;
        Manifest::parse(&text).map_err(|mistaken| self.mistaken(&mistaken))
    }

    fn mistaken(&self, mistaken: &Mistaken) -> anyhow::Error {
        let lines: Vec<String> = mistaken.0.iter().map(|mistake| format!("\n  {mistake}")).collect();
        anyhow::anyhow!("{} can't be used:{}", self.route, lines.concat())
    }

    fn name_in(&self, manifest: &Manifest) -> anyhow::Result<String> {
        let names = || manifest.routes.iter().map(|entry| entry.spec.name.as_str());
        if let Some(name) = &self.of_file {
            known("route", name, names())?;
            return Ok(name.clone());
        }
        match manifest.routes.as_slice() {
            [only] => Ok(only.spec.name.clone()),
            [] => bail!("{} has no [[route]]", self.route),
            _ => {
                let names = names().collect::<Vec<_>>().join(", ");
                bail!("{} has several routes ({names}); say which with --route NAME", self.route)
            }
        }
    }
}

impl Source {
    pub(super) fn destination(&self) -> anyhow::Result<&Destination> {
        crate::cli::tables::destination(&self.document, &self.route.destination)
    }

    /// The destination's database; it connects with the first question.
    pub(super) fn database(&self) -> anyhow::Result<Box<dyn Database>> {
        look::open(self.destination()?, self.key.as_ref()).map_err(anyhow::Error::msg)
    }

    /// The route against its tables as they are.
    pub(super) async fn compile(&self) -> anyhow::Result<Mapping> {
        let mut database = self.database()?;
        look::compile(database.as_mut(), &self.route).await.map_err(|error| match error {
            Uncompiled::Unseen(unseen) => unseen.into(),
            Uncompiled::Unfit(errors) => {
                let lines: Vec<String> = errors.iter().map(|error| format!("\n  {}", error.message)).collect();
                anyhow::anyhow!("route `{}` does not fit its table:{}", self.route.name, lines.concat())
            }
        })
    }
}
