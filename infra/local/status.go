package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud/daemon"
	"coditect.ai/platform/infra/simcloud/runtime"
)

// Look tells what of the environment runs. Its error is daemon.ErrNotRunning,
// as a [problem.Error], where nothing does.
func (e *Environment) Look(ctx context.Context) (daemon.Status, error) {
	cloud, err := e.Cloud(ctx)
	if err != nil {
		return daemon.Status{}, err
	}
	status, err := cloud.Status(ctx)
	if err != nil {
		return daemon.Status{}, fmt.Errorf("ask the simulated cloud what runs: %w", err)
	}
	return status, nil
}

// Cloud reaches the simulated cloud that runs; its error is as Look's.
func (e *Environment) Cloud(ctx context.Context) (*daemon.Client, error) {
	cloud, err := daemon.Connect(ctx, e.path("simcloud"))
	if errors.Is(err, daemon.ErrNotRunning) {
		return nil, problem.New(err, "the local environment does not run: `make up` brings it up.")
	}
	if err != nil {
		return nil, fmt.Errorf("reach the simulated cloud: %w", err)
	}
	return cloud, nil
}

// Status writes what of the environment runs, for people, on a terminal so wide (0:
// on none), or as JSON.
func (e *Environment) Status(ctx context.Context, asJSON bool, width int) error {
	status, err := e.Look(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		encoder := json.NewEncoder(e.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	e.describe(status, width)
	return nil
}

// describe tells the addresses, and for each slot its split and its pods.
func (e *Environment) describe(status daemon.Status, width int) {
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	defer func() { _, _ = io.WriteString(e.out, tabulate(lines, width)) }()
	for _, address := range status.Gateways {
		line("  %s%s", address, contract.BasePath)
	}
	pods := func(workload runtime.WorkloadStatus) {
		for _, pod := range workload.Pods {
			line("    %s\t%s\t%s", pod.Name, pod.Address, condition(pod))
		}
	}
	routed := map[string]bool{}
	for _, route := range status.Routes {
		for _, backend := range route.Backends {
			routed[backend.Service] = true
			// A slot's Deployment and Service share their name.
			i := slices.IndexFunc(status.Workloads, func(w runtime.WorkloadStatus) bool { return w.Name == backend.Service })
			if i < 0 {
				line("  %s\t%d %%\tno release", backend.Service, backend.Weight)
				continue
			}
			workload := status.Workloads[i]
			line("  %s\t%d %%\t%d of %d pods ready, %s", backend.Service, backend.Weight, workload.Ready, workload.Desired, traffic(backend.Recent, backend.Share))
			pods(workload)
		}
	}
	for _, workload := range status.Workloads {
		if !routed[workload.Name] {
			line("  %s\tno route\t%d of %d pods ready", workload.Name, workload.Ready, workload.Desired)
			pods(workload)
		}
	}
	switch m := status.Metrics; {
	case m.Address != "":
		line("  %s\tPrometheus, %s", m.Address, count(m.Targets, "target"))
	case m.Trouble != "":
		line("  nothing is measured: %s", m.Trouble)
	case m.Targets > 0:
		line("  Prometheus starts")
	}
}

// tabulate aligns the cells of lines, which tabs divide. Where that is wider than the
// terminal, each cell has a line of its own below the first.
func tabulate(lines []string, width int) string {
	var aligned strings.Builder
	w := tabwriter.NewWriter(&aligned, 2, 0, 2, ' ', 0)
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, line)
	}
	_ = w.Flush() // a Builder refuses nothing
	fits := func(line string) bool { return utf8.RuneCountInString(strings.TrimRight(line, "\n")) <= width }
	if width <= 0 || !slices.ContainsFunc(slices.Collect(strings.Lines(aligned.String())), func(line string) bool { return !fits(line) }) {
		return aligned.String()
	}
	var narrow strings.Builder
	for _, line := range lines {
		cells := strings.Split(line, "\t")
		indent := strings.Repeat(" ", len(cells[0])-len(strings.TrimLeft(cells[0], " "))+2)
		narrow.WriteString(cells[0] + "\n")
		for _, cell := range cells[1:] {
			narrow.WriteString(indent + cell + "\n")
		}
	}
	return narrow.String()
}

// traffic is the split that was observed since the weights were set.
func traffic(requests uint64, share float64) string {
	if requests == 0 {
		return "no request yet"
	}
	return fmt.Sprintf("%s (%.1f %%)", count(requests, "request"), 100*share)
}

// count is a number of things in words.
func count[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func condition(pod runtime.PodStatus) string {
	words := make([]string, 0, 1+len(pod.Containers))
	switch {
	case pod.Terminating:
		words = append(words, "leaving")
	case pod.Ready:
		words = append(words, "ready")
	default:
		words = append(words, "not ready")
	}
	for _, c := range pod.Containers {
		if c.PID != 0 {
			words = append(words, fmt.Sprintf("pid %d", c.PID))
		}
		words = append(words, count(c.Restarts, "restart"))
		if c.Reason != "" {
			words = append(words, strings.TrimSpace(c.Reason+" "+c.Message))
		}
	}
	return strings.Join(words, ", ")
}
