package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/apis"
	"coditect.ai/platform/infra/database"
	"coditect.ai/platform/infra/doctor"
	"coditect.ai/platform/infra/engine"
	"coditect.ai/platform/infra/kube"
	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/program"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/simcloud/store"
	"coditect.ai/platform/stacks"
)

// workloadAPI is the one workload that the ladder is for.
const workloadAPI = "api"

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Tell what a machine, a project or the running service lacks, and how to mend it", Args: cobra.NoArgs,
		Long: `Looks at this machine and, with --env, at the environment's project: tools and
their versions, credentials, the state, APIs, quotas, values of secrets. With
--workload api it climbs the ladder of a service that does not run: image, mounts,
exit code, logs, probe paths, cluster file, names, database. It changes nothing.

Exit code 0: nothing is to be mended; 3: something is; 1: it could not be looked at.`,
	}
	name := cmd.Flags().String("env", local.Name, "the environment: local, dev, staging or prod")
	workload := cmd.Flags().String("workload", "", "look into the running service: "+workloadAPI)
	asJSON := cmd.Flags().Bool("json", false, "for machines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		env, err := local.Open(".", cmd.OutOrStdout()) // finds the repository
		if err != nil {
			return err
		}
		report := doctor.Report{Environment: *name}
		switch {
		case !stacks.Environment(*name).Known():
			err = unknown(*name)
		case *workload == workloadAPI:
			err = climb(cmd.Context(), env, *name, &report)
		case *workload != "":
			err = problem.New(nil, "there is no ladder for %q: it is for %s.", *workload, workloadAPI)
		default:
			err = examine(cmd.Context(), env, *name, &report)
		}
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			report.Text(cmd.OutOrStdout())
		}
		if err == nil && report.ToMend() > 0 {
			err = errFindings
		}
		return err
	}
	return cmd
}

// examine looks at this machine, and at the project of an environment in the cloud.
func examine(ctx context.Context, env *local.Environment, name string, report *doctor.Report) error {
	tools, cloud := doctor.System{Dir: env.Root()}, stacks.Environment(name).Cloud()
	if err := doctor.Machine(ctx, env.Root(), cloud, tools, report); err != nil {
		return err
	}
	settings, err := engine.Committed(env.Root(), name)
	if refusal, refused := errors.AsType[*stacks.RefusalError](err); refused {
		for _, fault := range refusal.Faults {
			report.Checks = append(report.Checks, doctor.Check{
				What: "setting " + fault.Key, State: doctor.Mend, Found: fault.Reason, How: fmt.Sprintf("pulumi config set --stack %s %s VALUE", name, fault.Key),
			})
		}
		return nil // what there is to look at, they say
	}
	if err != nil {
		return err
	}
	report.Checks = append(report.Checks, doctor.Check{What: "settings", State: doctor.OK, Found: engine.File(name)})
	if cloud {
		doctor.Project(ctx, settings, apis.Needed(), tools, report)
	}
	return nil
}

// probes are where the service is to be asked.
var probes = doctor.Probes{
	Readiness: strconv.Itoa(contract.Port) + contract.ReadyPath, Liveness: strconv.Itoa(contract.Port) + contract.HealthPath,
}

// climb looks into the service of the environment.
func climb(ctx context.Context, env *local.Environment, name string, report *doctor.Report) error {
	if name == local.Name {
		w, err := localWorkload(ctx, env)
		if err == nil {
			w.Climb(report)
		}
		return err
	}
	s, err := engine.Attach(ctx, env.Root(), name, program.Deploy)
	if err != nil {
		return err
	}
	outputs, err := s.Outputs(ctx)
	if err != nil {
		return engine.Refused(name, err)
	}
	config, _ := outputs[program.OutputKubeconfig].Value.(string)
	if config == "" {
		return problem.New(nil, "the state of %[1]s knows no cluster: `pulumi up --stack %[1]s` makes it; `coditect doctor --env %[1]s` looks at what that needs.", name)
	}
	cluster, err := kube.New([]byte(config))
	if err != nil {
		return err
	}
	w, err := doctor.Observe(ctx, cluster, doctor.Names{
		Namespace: s.Settings.Cloud.Namespace, App: service.App, Container: service.Container, Want: probes,
		Database: database.App, Service: database.NamesService, ClusterFile: database.ClusterFile, File: database.ClusterFileName,
	})
	if err == nil {
		w.Climb(report)
	}
	return err
}

// localWorkload is the service as the simulated cloud runs it, with the embedded engine.
func localWorkload(ctx context.Context, env *local.Environment) (doctor.Workload, error) {
	w := doctor.Workload{}
	cloud, err := env.Cloud(ctx)
	if err != nil {
		return w, err
	}
	status, err := cloud.Status(ctx)
	if err != nil {
		return w, err
	}
	objects, err := cloud.Objects(ctx)
	if err != nil {
		return w, err
	}
	for _, fleet := range status.Workloads {
		if !strings.HasPrefix(fleet.Name, service.App+"-") {
			continue
		}
		i := slices.IndexFunc(objects, func(o store.Object) bool {
			return o.Key == store.Key{Kind: "apps/Deployment", Namespace: fleet.Namespace, Name: fleet.Name}
		})
		var deployment appsv1.Deployment
		if i >= 0 {
			if err := objects[i].Decode(&deployment); err != nil {
				return w, err
			}
		}
		w.Namespace = fleet.Namespace
		for _, pod := range fleet.Pods {
			if pod.Terminating {
				continue
			}
			log, err := cloud.Logs(ctx, fleet.Namespace, pod.Name, 20)
			if err != nil {
				log = "" // it has not written any
			}
			w.Pods = append(w.Pods, localPod(pod, deployment.Spec.Template.Spec, log))
		}
	}
	// The pods' ports are the contract's; only the addresses are this machine's own.
	w.Want = probes
	return w, nil
}

func localPod(pod runtime.PodStatus, spec corev1.PodSpec, log string) doctor.Pod {
	p := doctor.Pod{Name: pod.Name, Ready: pod.Ready, Log: log, Probes: doctor.ProbesOf(spec, service.Container)}
	for _, c := range pod.Containers {
		p.Image, p.Restarts = c.Image, c.Restarts
		if c.PID == 0 {
			p.Waiting, p.Message = c.Reason, c.Message
		}
		var code int
		if _, err := fmt.Sscanf(c.LastExit, "exited with code %d", &code); err == nil {
			p.Exited = &code
		} else if _, err := fmt.Sscanf(c.LastExit, "killed by signal %d", &code); err == nil {
			code += 128 // as a container's exit code tells it
			p.Exited = &code
		}
	}
	return p
}
