// Command kubernetes is every Kubernetes program of the node in one: it acts as the program whose name it is called by.
//
// The applets share their text in memory, and one module graph fixes all their versions. Called by another name it takes
// the applet as its first argument: `kubernetes kubelet --version`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	kine "github.com/k3s-io/kine/pkg/app"
	"go.etcd.io/etcd/server/v3/etcdmain"
	helm "helm.sh/helm/v4/pkg/cmd"
	helmkube "helm.sh/helm/v4/pkg/kube"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	metrics "sigs.k8s.io/metrics-server/cmd/metrics-server/app"
)

// applets returns each program as a function that runs it to its end and gives its exit code.
func applets() map[string]func() int {
	return map[string]func() int{
		"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
		"kube-controller-manager": func() int { return cli.Run(controllers.NewControllerManagerCommand()) },
		"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
		"kube-proxy":              func() int { return cli.Run(proxy.NewProxyCommand()) },
		"kubelet":                 func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
		"kubectl":                 runKubectl,
		"helm":                    runHelm,
		"kubeadm":                 func() int { return failed(kubeadm.Run()) },
		"kine":                    func() int { return failed(kine.New().Run(os.Args)) },
		"metrics-server":          func() int { return cli.Run(metrics.NewMetricsServerCommand(genericapiserver.SetupSignalHandler())) },
		"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
		"datastore":               datastore,
	}
}

// runKubectl prints kubectl's errors as kubectl itself does, which knows its own exit codes.
func runKubectl() int {
	command := kubectl.NewDefaultKubectlCommand()
	if err := cli.RunNoErrOutput(command); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}

// runHelm knows the exit codes of helm's plugins; helm itself says what went wrong.
func runHelm() int {
	helmkube.ManagedFieldsManager = "helm"
	command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		return failed(err)
	}
	err = command.Execute()
	var coded helm.CommandError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode
	default:
		return 1
	}
}

func failed(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func main() {
	known := applets()
	name := filepath.Base(os.Args[0])
	if _, ok := known[name]; !ok && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	run, ok := known[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "starting %s: no such applet; call this program as kubelet, kubectl, kubeadm, kube-apiserver, …\n", name)
		os.Exit(2)
	}
	os.Exit(run())
}
