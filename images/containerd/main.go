// Command containerd is the container runtime, and `ctr` when called by that name: both link the same packages.
//
// Snapshotters for btrfs, ZFS and devmapper are left out by build tags: the data partition is ext4.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/containerd/containerd/v2/cmd/ctr/app"
)

func main() {
	name := filepath.Base(os.Args[0])
	ctx := context.Background()
	var err error
	if name == "ctr" {
		err = app.New().Run(ctx, os.Args)
	} else {
		err = command.App().Run(ctx, os.Args)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
