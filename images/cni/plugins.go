// Package cni pins the CNI plugins of the node: the standard ones, built from their module as they are.
//
// bridge joins a pod to the node's bridge, host-local gives it an address, portmap and bandwidth do what their annotations
// say, loopback brings up `lo`. The `tool` lines of go.mod name what is built.
package cni
