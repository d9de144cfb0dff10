//! Charts, volumes and metrics against a real control plane, without a kubelet: the test says what became of pods.
//!
//! `SKERRY_KUBERNETES=PATH` names the multi-call program of a release; without it nothing is tested here, and it says so.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "real/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "real/wait.rs"]
mod wait;

use cluster::Cluster;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use skerry_agent::places::Places;
use skerry_agent::run;
use skerry_distribution::facts::Facts;
use skerry_distribution::kubernetes::paths::{ADD_ONS, METRICS_CONF};
use skerry_distribution::kubernetes::{add_ons, base64, manifests, settings};
use skerry_sys::notify::Notify;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use wait::{program, until};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/chart");

/// What `setup` writes on a server, in this directory.
#[allow(clippy::disallowed_methods, reason = "a test's own scratch files")]
fn lay_out(cluster: &Cluster) {
    let at = |path: &str| cluster.dir.join(path.trim_start_matches('/'));
    let (wanted, _) = settings(&skerry_config::types::Config::default(), &Facts::default());
    std::fs::create_dir_all(at(ADD_ONS)).unwrap();
    for file in add_ons::files(&wanted, &String::from_utf8(cluster.ca()).unwrap()) {
        std::fs::write(at(&file.path), file.text).unwrap();
    }
    let conf = add_ons::metrics_kubeconfig()
        .replace("127.0.0.1:6443", &format!("127.0.0.1:{}", cluster.port))
        .replace("\"/", &format!("\"{}/", cluster.dir.display()));
    std::fs::write(at(METRICS_CONF), conf).unwrap();
    let agent = json!({
        "role": "server", "node_name": "s1", "pods": "10.42.0.0/16", "backend": "none",
        "manifests": [ADD_ONS], "local_storage": "/volumes", "metrics_server": true, "helm": true,
    });
    std::fs::write(at("/run/skerry/kube/agent.json"), agent.to_string()).unwrap();
}

#[tokio::test]
async fn what_k3s_brings() {
    let Some(program) = program() else { return };
    let dir = std::env::temp_dir().join(format!("skerry-add-ons-{}", std::process::id()));
    let mut cluster = Cluster::start(&program, &dir).await;
    lay_out(&cluster);
    // By the one-shot, on a node.
    for object in add_ons::charts() {
        let request = http::Request::patch(format!("{}?fieldManager=skerry&force=true", manifests::path(&object).unwrap()))
            .header("content-type", "application/apply-patch+yaml")
            .body(serde_json::to_vec(&object).unwrap())
            .unwrap();
        cluster.admin.request::<Value>(request).await.unwrap();
    }
    let nodes: Api<Node> = Api::all(cluster.admin.clone());
    let node: Node = serde_json::from_value(json!({ "metadata": { "name": "s1", "labels": { "kubernetes.io/hostname": "h1" } } })).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();

    let mut places = Places::below(&dir);
    places.local_api = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port));
    places.helm = dir.join("bin/helm");
    tokio::spawn(async move { run::run(&places, &Notify::new(None)).await.unwrap() });

    metrics(&mut cluster).await;
    volumes(&cluster).await;
    charts(&cluster, &dir).await;
    let _ = std::fs::remove_dir_all(&dir);
}

/// By way of the API server, which trusts what its agent has signed.
async fn metrics(cluster: &mut Cluster) {
    until("the certificate is there", async || {
        cluster.dir.join("run/skerry/kube/metrics-server/tls.crt").exists().then_some(())
    })
    .await;
    cluster.begin("metrics-server");
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService"));
    let services: Api<DynamicObject> = Api::all_with(cluster.admin.clone(), &kind);
    until("the API has metrics", async || {
        let service = services.get_opt("v1beta1.metrics.k8s.io").await.unwrap()?;
        let conditions = service.data.pointer("/status/conditions")?.as_array()?.clone();
        conditions
            .iter()
            .any(|c| c["type"] == "Available" && c["status"] == "True")
            .then_some(())
    })
    .await;
    let ask = http::Request::get("/apis/metrics.k8s.io/v1beta1/nodes").body(vec![]).unwrap();
    let answer: Value = cluster.admin.request(ask).await.unwrap();
    assert_eq!(answer["kind"], "NodeMetricsList");
}

async fn volumes(cluster: &Cluster) {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.admin.clone(), "default");
    let volumes: Api<PersistentVolume> = Api::all(cluster.admin.clone());
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), "kube-system");
    // The scheduler's part: it chooses the node.
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": { "name": "data", "annotations": { "volume.kubernetes.io/selected-node": "s1" } },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }))
    .unwrap();
    // The class is the default one by the time that it is there.
    until("the class is there", async || {
        let made = claims.create(&PostParams::default(), &claim).await.unwrap();
        if made.spec.unwrap().storage_class_name.as_deref() == Some("local-path") {
            return Some(());
        }
        claims.delete("data", &DeleteParams::default()).await.unwrap();
        until("it is gone", async || claims.get_opt("data").await.unwrap().is_none().then_some(())).await;
        None
    })
    .await;
    // kubelet's part: the helper did it.
    let done_by = async |verb: &str, uid: &str| {
        let name = format!("local-path-{verb}-{uid}");
        let pod = until("a helper", async || pods.get_opt(&name).await.unwrap()).await;
        let spec = pod.spec.unwrap();
        assert_eq!(spec.node_name.as_deref(), Some("s1"));
        let args = spec.containers[0].args.clone().unwrap();
        assert_eq!(args, [verb.to_owned(), format!("/volumes/pvc-{uid}_default_data")]);
        let done = json!({ "status": { "phase": "Succeeded" } });
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&done))
            .await
            .unwrap();
        name
    };
    let uid = claims.get("data").await.unwrap().metadata.uid.unwrap();
    let helper = done_by("make", &uid).await;
    until("the claim is bound", async || {
        let now = claims.get("data").await.unwrap();
        (now.status?.phase? == "Bound").then_some(())
    })
    .await;
    let volume = volumes.get(&format!("pvc-{uid}")).await.unwrap();
    let path = volume.spec.unwrap().host_path.unwrap().path;
    assert_eq!(path, format!("/volumes/pvc-{uid}_default_data"));
    until("its helper is gone", async || {
        pods.get_opt(&helper).await.unwrap().is_none().then_some(())
    })
    .await;

    claims.delete("data", &DeleteParams::default()).await.unwrap();
    let helper = done_by("remove", &uid).await;
    until("the volume is gone", async || {
        volumes.get_opt(&format!("pvc-{uid}")).await.unwrap().is_none().then_some(())
    })
    .await;
    until("its helper is gone", async || {
        pods.get_opt(&helper).await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn charts(cluster: &Cluster, dir: &Path) {
    let packed = Command::new("tar").args(["-C", CHART, "-czf", "-", "hello"]).output().unwrap();
    assert!(packed.status.success());
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("helm.cattle.io", "v1", "HelmChart"));
    let charts: Api<DynamicObject> = Api::namespaced_with(cluster.admin.clone(), "kube-system", &kind);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin.clone(), "charts");
    let word = async || maps.get_opt("said").await.unwrap()?.data?.get("word").cloned();
    let chart: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "helm.cattle.io/v1", "kind": "HelmChart", "metadata": { "name": "said", "namespace": "kube-system" },
        "spec": { "chartContent": base64::encode(&packed.stdout), "targetNamespace": "charts", "createNamespace": true,
            "valuesContent": "word: first\n", "authSecret": {} },
    }))
    .unwrap();
    charts.create(&PostParams::default(), &chart).await.unwrap();
    until("the chart is installed", async || word().await.filter(|w| w == "first")).await;
    let deployed = async || {
        let now = charts.get("said").await.unwrap();
        let condition = now.data.pointer("/status/conditions/0")?.clone();
        Some((condition["status"].as_str()?.to_owned(), condition["message"].as_str()?.to_owned()))
    };
    let (status, message) = until("its object says so", deployed).await;
    assert_eq!((status.as_str(), message.as_str()), ("True", "no meaning here: authSecret"));

    let change = async |spec: Value| {
        let how = PatchParams::default();
        charts.patch("said", &how, &Patch::Merge(&json!({ "spec": spec }))).await.unwrap();
    };
    change(json!({ "valuesContent": "word: [unclosed\n" })).await;
    let (_, why) = until("what is wrong is said", async || {
        deployed().await.filter(|(status, _)| status == "False")
    })
    .await;
    assert!(why.contains("helm upgrade: "), "{why}");
    change(json!({ "valuesContent": "word: second\n" })).await;
    until("a change is an upgrade", async || word().await.filter(|w| w == "second")).await;
    assert_eq!(word().await.as_deref(), Some("second"));

    charts.delete("said", &DeleteParams::default()).await.unwrap();
    until("with its chart goes the release", async || {
        charts.get_opt("said").await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(word().await, None);
    let namespaces: Api<Namespace> = Api::all(cluster.admin.clone());
    assert!(namespaces.get_opt("charts").await.unwrap().is_some());
    until("credentials are gone", async || {
        (std::fs::read_dir(dir.join("run/skerry/kube/helm")).unwrap().count() == 0).then_some(())
    })
    .await;
}
