//! What do node and cluster tell each other?
//!
//! The program `agent` runs on the host of every node, with the node's own credentials; on servers also with its own. It is the only
//! room that speaks to the Kubernetes API by kube-rs, and an async one: one thread, which waits for many things.
//!
//! | file | answers |
//! |---|---|
//! | [`files`], [`places`] | what it is given and what it keeps; where that lies |
//! | [`client`] | how the API is reached, and as whom |
//! | [`identity`], [`issue`], [`x509`], [`kubeconfig`] | keys; certificates signed here; certificates read; credentials written |
//! | [`join`] | how a node becomes a member |
//! | [`csr`] | how a certificate is asked for |
//! | [`approve`] | on servers: who may become which node |
//! | [`balancer`], [`servers`] | on workers: the way to the servers |
//! | [`renew`], [`control`] | on workers: a new certificate in time; what holds it is restarted by PID 1 |
//! | [`moved`] | the machine has other addresses: who looks after the node's is told
//! | [`pods`] | how the pods of one node reach those of another |
//! | [`manifests`] | on servers: the owner's files become objects, and stay so |
//! | [`service_lb`] | on servers: Services of type `LoadBalancer` get addresses |
//! | [`members`] | on servers with etcd: who was deleted is a member no longer |
//! | [`local_path`] | on servers: claims of the class `local-path` get volumes |
//! | [`helm`] | on servers: `HelmChart` objects are installed |
//! | [`token`] | on servers: tokens by which machines join |
//! | [`run`] | what goes on at the same time |
//! | [`trouble`], [`log`] | what people and PID 1 are told |
//!
//! Never: decide in code that asks the API. What decides takes facts and gives plain data.

pub mod approve;
pub mod balancer;
pub mod client;
pub mod conditions;
pub mod control;
pub mod csr;
pub mod files;
pub mod heard;
pub mod helm;
pub mod identity;
pub mod issue;
pub mod join;
pub mod kubeconfig;
pub mod local_path;
pub mod manifests;
pub mod members;
pub mod moved;
pub mod places;
pub mod pods;
pub mod renew;
pub mod run;
pub mod servers;
pub mod service_lb;
pub mod token;
pub mod trouble;
pub mod x509;
