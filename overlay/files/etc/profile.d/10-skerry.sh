# kubectl and its friends find the cluster without any set-up.
export KUBECONFIG="${KUBECONFIG:-/etc/rancher/k3s/k3s.yaml}"
export EDITOR="${EDITOR:-vi}" PAGER="${PAGER:-less}" LANG="${LANG:-C.UTF-8}"
