//! Asking the cluster for a node's certificate, and waiting for it.

use crate::identity::Identity;
use crate::trouble::{Trouble, innermost};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use std::time::Duration;
use tokio::time::timeout;

/// Who signs kubelets' client certificates.
pub const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// What such a certificate is for.
pub const USAGES: [&str; 2] = ["digital signature", "client auth"];
/// One answer takes no longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Waiting,
    /// Approved, not signed yet.
    Approved,
    /// Signed: the certificate, PEM.
    Signed(Vec<u8>),
    /// Denied or failed, and why.
    Denied(String),
    /// The object is not there any more.
    Gone,
}

/// Reads it from the object.
pub fn answer(object: Option<&CertificateSigningRequest>) -> Answer {
    let Some(object) = object else { return Answer::Gone };
    let status = object.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    if let Some(no) = conditions.iter().find(|c| matches!(c.type_.as_str(), "Denied" | "Failed")) {
        return Answer::Denied(no.message.clone().unwrap_or_else(|| "the request was denied".to_owned()));
    }
    match status.and_then(|s| s.certificate.as_ref()) {
        Some(certificate) => Answer::Signed(certificate.0.clone()),
        None if conditions.iter().any(|c| c.type_ == "Approved") => Answer::Approved,
        None => Answer::Waiting,
    }
}

/// Makes a request; gives its name. `id`: of the token, if one is used.
pub async fn create(
    api: &Api<CertificateSigningRequest>,
    identity: &Identity,
    node_name: &str,
    id: Option<&str>,
) -> Result<String, Trouble> {
    let request = identity.request(node_name).map_err(Trouble::Here)?;
    let object = CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some("skerry-node-".to_owned()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.into_bytes()),
            signer_name: SIGNER.to_owned(),
            usages: Some(USAGES.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let made = patiently(api.create(&PostParams::default(), &object), id).await?;
    made.metadata
        .name
        .ok_or_else(|| Trouble::Refused("a request for a certificate without a name".to_owned()))
}

/// Waits until it is decided; `say` is told what is waited for. Without end: a person may have to approve it.
pub async fn decided(api: &Api<CertificateSigningRequest>, name: &str, mut say: impl FnMut(&str)) -> Result<Answer, Trouble> {
    let watch = |until: fn(&Answer) -> bool| {
        let api = api.clone();
        async move {
            let reached = move |object: Option<&CertificateSigningRequest>| until(&answer(object));
            let object = await_condition(api, name, reached).await;
            object.map_err(|why| Trouble::Away(innermost(&why)))
        }
    };
    say("asked for this node's certificate; waiting for a server's agent to approve it");
    let seen = watch(|a| *a != Answer::Waiting).await?;
    if answer(seen.as_ref()) != Answer::Approved {
        return Ok(answer(seen.as_ref()));
    }
    say("approved; waiting for the certificate");
    let seen = watch(|a| !matches!(a, Answer::Waiting | Answer::Approved)).await?;
    Ok(answer(seen.as_ref()))
}

/// One request, with an end.
pub async fn patiently<T>(request: impl Future<Output = kube::Result<T>>, id: Option<&str>) -> Result<T, Trouble> {
    match timeout(PATIENCE, request).await {
        Ok(done) => done.map_err(|error| Trouble::of(error, id)),
        Err(_) => Err(Trouble::Away(format!("no answer for {} s", PATIENCE.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus};

    fn object(conditions: &[&str], certificate: bool) -> CertificateSigningRequest {
        let condition = |type_: &&str| CertificateSigningRequestCondition {
            type_: (*type_).to_owned(),
            message: Some(format!("{type_}, because")),
            ..CertificateSigningRequestCondition::default()
        };
        CertificateSigningRequest {
            status: Some(CertificateSigningRequestStatus {
                conditions: Some(conditions.iter().map(condition).collect()),
                certificate: certificate.then(|| ByteString(b"x".to_vec())),
            }),
            ..CertificateSigningRequest::default()
        }
    }

    #[test]
    fn every_answer() {
        for (conditions, certificate, wanted) in [
            (vec![], false, Answer::Waiting),
            (vec!["Approved"], false, Answer::Approved),
            (vec!["Approved"], true, Answer::Signed(b"x".to_vec())),
            (vec!["Denied"], false, Answer::Denied("Denied, because".into())),
            (vec!["Approved", "Failed"], false, Answer::Denied("Failed, because".into())),
            (vec!["Other"], false, Answer::Waiting),
        ] {
            assert_eq!(answer(Some(&object(&conditions, certificate))), wanted, "{conditions:?}");
        }
        assert_eq!(answer(None), Answer::Gone);
        assert_eq!(answer(Some(&CertificateSigningRequest::default())), Answer::Waiting);
    }
}
