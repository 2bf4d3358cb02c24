//! What the streams must learn of the registry's changes: where routes begin, what is gone, and the version to work by.
//!
//! A route is registered before it is published, so that nothing is trimmed that it was promised. Every call may be
//! repeated.

use async_trait::async_trait;
use tidegate_actors::route::{RouteSpec, Start};

use crate::resources::{Delivery, Destination, Document};

/// Why a stream could not learn of a change, and what to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct StreamError(pub String);

/// The streams, as the registry sees them.
#[async_trait(?Send)]
pub trait StreamRegistration {
    /// Fixes where a route begins; one that is registered already keeps its start.
    async fn register_route(
        &mut self,
        application: &str,
        route_id: &str,
        destination_id: &str,
        start: &Start,
    ) -> Result<(), StreamError>;

    /// Makes the consumer group of a parallel destination; after the registration of a route to it.
    async fn register_group(&mut self, _application: &str, _destination_id: &str) -> Result<(), StreamError> {
        Ok(())
    }

    /// Forgets where a route begins.
    async fn unregister_route(&mut self, application: &str, route_id: &str) -> Result<(), StreamError>;

    /// Forgets a destination on this stream; no route leads from it there any more.
    async fn unregister_destination(&mut self, application: &str, destination_id: &str) -> Result<(), StreamError>;

    /// Empties the stream of an application that is gone, and forgets what was sent from it.
    async fn clear(&mut self, _application: &str) -> Result<(), StreamError> {
        Ok(())
    }

    /// Raises the version by which owners on this stream must work; it never goes back.
    async fn set_version(&mut self, application: &str, version: u64) -> Result<(), StreamError>;
}

#[async_trait(?Send)]
impl<S: StreamRegistration + ?Sized> StreamRegistration for Box<S> {
    async fn register_route(
        &mut self,
        application: &str,
        route_id: &str,
        destination_id: &str,
        start: &Start,
    ) -> Result<(), StreamError> {
        (**self).register_route(application, route_id, destination_id, start).await
    }

    async fn register_group(&mut self, application: &str, destination_id: &str) -> Result<(), StreamError> {
        (**self).register_group(application, destination_id).await
    }

    async fn unregister_route(&mut self, application: &str, route_id: &str) -> Result<(), StreamError> {
        (**self).unregister_route(application, route_id).await
    }

    async fn unregister_destination(&mut self, application: &str, destination_id: &str) -> Result<(), StreamError> {
        (**self).unregister_destination(application, destination_id).await
    }

    async fn clear(&mut self, application: &str) -> Result<(), StreamError> {
        (**self).clear(application).await
    }

    async fn set_version(&mut self, application: &str, version: u64) -> Result<(), StreamError> {
        (**self).set_version(application, version).await
    }
}

/// Routes of `new` that `old` lacks.
pub(super) async fn register_new(
    streams: &mut impl StreamRegistration,
    old: &Document,
    new: &Document,
) -> Result<(), StreamError> {
    for route in new.routes.iter().filter(|route| !has_route(old, route)) {
        let Some(destination) = destination_of(new, route) else { continue };
        streams.register_route(&route.application, &route.id, &destination.id, &route.start).await?;
        if destination.delivery == Delivery::Parallel {
            streams.register_group(&route.application, &destination.id).await?;
        }
    }
    Ok(())
}

/// Routes of `old` that `new` lacks, and the destinations that no route of their stream leads to any more.
pub(super) async fn forget_gone(
    streams: &mut impl StreamRegistration,
    old: &Document,
    new: &Document,
) -> Result<(), StreamError> {
    let lanes = |document: &Document| -> Vec<(String, String)> {
        let lane = |route: &RouteSpec| Some((route.application.clone(), destination_id(document, route)?.to_owned()));
        let mut lanes: Vec<_> = document.routes.iter().filter_map(lane).collect();
        lanes.sort();
        lanes.dedup();
        lanes
    };
    for route in old.routes.iter().filter(|route| !has_route(new, route)) {
        streams.unregister_route(&route.application, &route.id).await?;
    }
    let kept = lanes(new);
    for (application, destination) in lanes(old).into_iter().filter(|lane| !kept.contains(lane)) {
        streams.unregister_destination(&application, &destination).await?;
    }
    Ok(())
}

/// Tells every stream the document's version.
pub(super) async fn set_versions(
    streams: &mut impl StreamRegistration,
    document: &Document,
) -> Result<(), StreamError> {
    for application in &document.applications {
        streams.set_version(&application.name, document.version).await?;
    }
    Ok(())
}

/// Tells the streams of applications that `new` lacks its version, where a route led from them.
pub(super) async fn set_versions_of_gone(
    streams: &mut impl StreamRegistration,
    old: &Document,
    new: &Document,
) -> Result<(), StreamError> {
    let gone = |name: &str| !new.applications.iter().any(|application| application.name == name);
    let mut names: Vec<&str> = old.routes.iter().map(|route| &*route.application).filter(|name| gone(name)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        streams.set_version(name, new.version).await?;
    }
    Ok(())
}

/// Empties the streams of applications that `new` lacks; after their lanes were forgotten.
pub(super) async fn clear_gone(
    streams: &mut impl StreamRegistration,
    old: &Document,
    new: &Document,
) -> Result<(), StreamError> {
    let there = |name: &str| new.applications.iter().any(|application| application.name == name);
    for application in old.applications.iter().filter(|application| !there(&application.name)) {
        streams.clear(&application.name).await?;
    }
    Ok(())
}

fn has_route(document: &Document, route: &RouteSpec) -> bool {
    document.routes.iter().any(|known| known.id == route.id && known.application == route.application)
}

fn destination_of<'a>(document: &'a Document, route: &RouteSpec) -> Option<&'a Destination> {
    document.destinations.iter().find(|known| known.name == route.destination)
}

fn destination_id<'a>(document: &'a Document, route: &RouteSpec) -> Option<&'a str> {
    destination_of(document, route).map(|known| known.id.as_str())
}

/// No streams at all: for a registry that nothing delivers from yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStreams;

#[async_trait(?Send)]
impl StreamRegistration for NoStreams {
    async fn register_route(&mut self, _: &str, _: &str, _: &str, _: &Start) -> Result<(), StreamError> {
        Ok(())
    }

    async fn unregister_route(&mut self, _: &str, _: &str) -> Result<(), StreamError> {
        Ok(())
    }

    async fn unregister_destination(&mut self, _: &str, _: &str) -> Result<(), StreamError> {
        Ok(())
    }

    async fn set_version(&mut self, _: &str, _: u64) -> Result<(), StreamError> {
        Ok(())
    }
}
