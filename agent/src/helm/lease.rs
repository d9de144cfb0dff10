//! Which server does it: who holds a Lease. A holder that is not heard of for a while has lost it.

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::chrono::{TimeDelta, Utc};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Error};
use std::time::Duration;

const NAME: &str = "skerry-helm";
const NAMESPACE: &str = "kube-system";
/// For so long it is held without being renewed. Seconds.
const LIFE: i32 = 60;
const RENEW: Duration = Duration::from_secs(15);

fn api(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn ours(node: &str, resource_version: Option<String>) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            resource_version,
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.to_owned()),
            lease_duration_seconds: Some(LIFE),
            renew_time: Some(MicroTime(Utc::now())),
            ..LeaseSpec::default()
        }),
    }
}

/// Whether somebody else holds it now.
fn is_held(lease: &Lease, node: &str, now: k8s_openapi::chrono::DateTime<Utc>) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let renewed = spec.renew_time.as_ref().map(|t| t.0);
    let life = TimeDelta::seconds(spec.lease_duration_seconds.unwrap_or(LIFE).into());
    !holder.is_empty() && holder != node && renewed.is_some_and(|at| at + life > now)
}

/// Takes it, if nobody else holds it.
pub async fn take(client: &Client, node: &str) -> Result<Option<Lease>> {
    let doing = || format!("taking Lease {NAMESPACE}/{NAME}");
    let api = api(client);
    let how = PostParams::default();
    let done = match api.get_opt(NAME).await.with_context(doing)? {
        Some(now) if is_held(&now, node, Utc::now()) => return Ok(None),
        Some(now) => api.replace(NAME, &how, &ours(node, now.metadata.resource_version)).await,
        None => api.create(&how, &ours(node, None)).await,
    };
    match done {
        // Another one was quicker.
        Err(Error::Api(status)) if status.code == 409 => Ok(None),
        done => done.map(Some).with_context(doing),
    }
}

/// Renews it as long as it is ours; why it is not any more.
pub async fn keep(client: &Client, node: &str, lease: &Lease) -> anyhow::Error {
    let mut version = lease.metadata.resource_version.clone();
    loop {
        tokio::time::sleep(RENEW).await;
        match api(client)
            .replace(NAME, &PostParams::default(), &ours(node, version.clone()))
            .await
        {
            Ok(now) => version = now.metadata.resource_version,
            Err(why) => {
                let still = matches!(api(client).get(NAME).await, Ok(now) if now.spec.as_ref().and_then(|s| s.holder_identity.as_deref()) == Some(node));
                if !still {
                    return anyhow!(why).context(format!("keeping Lease {NAMESPACE}/{NAME}"));
                }
                version = None;
            }
        }
    }
}

/// Gives it back; if that fails it ends by itself.
pub async fn release(client: &Client, node: &str) {
    let mut free = ours(node, None);
    if let Some(spec) = &mut free.spec {
        spec.holder_identity = Some(String::new());
    }
    if let Err(why) = api(client).replace(NAME, &PostParams::default(), &free).await {
        tracing::debug!(%why, "giving back the Lease of charts");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_it() {
        let now = Utc::now();
        let of = |holder: &str, seconds: i64| {
            let mut lease = ours(holder, None);
            if let Some(spec) = &mut lease.spec {
                spec.renew_time = Some(MicroTime(now - TimeDelta::seconds(seconds)));
            }
            lease
        };
        for (lease, held) in [
            (of("other", 10), true),
            (of("other", 61), false),
            (of("me", 10), false),
            (of("", 10), false),
            (Lease::default(), false),
        ] {
            assert_eq!(is_held(&lease, "me", now), held, "{lease:?}");
        }
    }
}
