// Package plain proves that the committed project and stack files work with the
// Pulumi command line alone, as a person types it: no Automation API, no command
// of ours in between. The providers are simulated, and a small language host
// stands for the one that comes with Pulumi's own packages: it compiles the
// program that Pulumi.yaml names and runs it. It holds tests alone.
package plain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"coditect.ai/platform/infra/simcloud"
)

// host is a language host for Go.
type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	binary string // where the compiled program goes

	mu       sync.Mutex
	engine   string // address of the engine that shook hands last
	programs map[string]error
}

func (h *host) Handshake(_ context.Context, in *pulumirpc.LanguageHandshakeRequest) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.engine = in.GetEngineAddress()
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: "3.259.0"}, nil
}

func (h *host) GetRequiredPackages(context.Context, *pulumirpc.GetRequiredPackagesRequest) (*pulumirpc.GetRequiredPackagesResponse, error) {
	return &pulumirpc.GetRequiredPackagesResponse{}, nil // both are attached
}

func (h *host) Run(ctx context.Context, in *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	directory, err := filepath.EvalSymlinks(in.GetInfo().GetProgramDirectory())
	if err != nil {
		return &pulumirpc.RunResponse{Error: err.Error()}, nil
	}
	if _, built := h.programs[directory]; !built {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", h.binary, in.GetInfo().GetEntryPoint())
		build.Dir = directory
		output, err := build.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("compile %s: %w\n%s", directory, err, output)
		}
		h.programs[directory] = err
	}
	if err := h.programs[directory]; err != nil {
		return &pulumirpc.RunResponse{Error: err.Error()}, nil
	}
	settings, err := json.Marshal(in.GetConfig())
	if err != nil {
		return nil, err
	}
	secrets, err := json.Marshal(in.GetConfigSecretKeys())
	if err != nil {
		return nil, err
	}
	program := exec.CommandContext(ctx, h.binary, in.GetArgs()...)
	program.Dir = in.GetPwd()
	program.Env = append(os.Environ(),
		"PULUMI_ORGANIZATION="+in.GetOrganization(), "PULUMI_PROJECT="+in.GetProject(), "PULUMI_STACK="+in.GetStack(),
		"PULUMI_CONFIG="+string(settings), "PULUMI_CONFIG_SECRET_KEYS="+string(secrets),
		"PULUMI_DRY_RUN="+strconv.FormatBool(in.GetDryRun()), "PULUMI_PARALLEL="+strconv.Itoa(int(in.GetParallel())),
		"PULUMI_MONITOR="+in.GetMonitorAddress(), "PULUMI_ENGINE="+h.engine,
		"PULUMI_ROOT_DIRECTORY="+in.GetInfo().GetRootDirectory(),
	)
	var output bytes.Buffer
	program.Stdout, program.Stderr = &output, &output
	if err := program.Run(); err != nil {
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("the program failed: %v\n%s", err, &output)}, nil
	}
	return &pulumirpc.RunResponse{}, nil
}

// cli is a folder with the committed files in which pulumi is typed.
type cli struct {
	dir string
	env []string
}

func (c *cli) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "pulumi", append(args, "--non-interactive", "--color=never")...)
	cmd.Dir, cmd.Env = c.dir, c.env
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func (c *cli) must(t *testing.T, args ...string) string {
	t.Helper()
	output, err := c.run(t.Context(), args...)
	if err != nil {
		t.Fatalf("pulumi %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

func newCLI(t *testing.T) *cli {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	c := &cli{dir: t.TempDir()}
	files, err := filepath.Glob(filepath.Join(root, "Pulumi*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("no project and stack files in %s: %v", root, err)
	}
	for _, file := range files { // copies: the command line writes the salt of secrets into a stack's file
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(root, "infra"), filepath.Join(c.dir, "infra")); err != nil {
		t.Fatal(err)
	}

	cloud, err := simcloud.Open(simcloud.Options{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{binary: filepath.Join(t.TempDir(), "program"), programs: map[string]error{}}
	cancel := make(chan bool)
	server, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{Cancel: cancel, Init: func(s *grpc.Server) error {
		pulumirpc.RegisterLanguageRuntimeServer(s, h)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(cancel)
		<-server.Done
	})
	home := t.TempDir()
	c.env = append(os.Environ(),
		"PULUMI_HOME="+home, "PULUMI_BACKEND_URL=file://"+t.TempDir(), "PULUMI_CONFIG_PASSPHRASE=for this test",
		"PULUMI_DEBUG_LANGUAGES=go:"+strconv.Itoa(server.Port), "PULUMI_DEBUG_PROVIDERS="+cloud.Providers(),
		"PULUMI_SKIP_UPDATE_CHECK=true", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true",
	)
	return c
}

func TestPlainPulumi(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the program")
	}
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Fatal("the Pulumi command line is not on PATH: `make pulumi` builds it")
	}
	c := newCLI(t)
	for _, env := range []struct {
		name     string
		settings []string // what an operator sets beside the committed file
	}{
		{"local", nil},
		{"dev", []string{"project=coditect-dev", "projectNumber=123456789012", "clusterAuthorizedNetworks=203.0.113.7/32", "deletionProtection=false"}},
	} {
		began := time.Now()
		c.must(t, "stack", "init", env.name)
		for _, setting := range env.settings {
			key, value, _ := strings.Cut(setting, "=")
			c.must(t, "config", "set", "--stack", env.name, key, value)
		}
		if plan := c.must(t, "preview", "--stack", env.name); !strings.Contains(plan, "to create") {
			t.Errorf("%s: the first preview creates nothing:\n%s", env.name, plan)
		}
		c.must(t, "up", "--yes", "--stack", env.name)
		c.must(t, "preview", "--stack", env.name, "--expect-no-changes")
		c.must(t, "destroy", "--yes", "--stack", env.name)
		if left := c.must(t, "stack", "export", "--stack", env.name); strings.Contains(left, `"urn"`) {
			t.Errorf("%s: something is left after destroy:\n%s", env.name, left)
		}
		t.Logf("%s: preview, up, a preview without changes and destroy in %s", env.name, time.Since(began).Round(time.Second))
	}
	// A setting that nobody knows is refused, not passed over.
	c.must(t, "config", "set", "--stack", "local", "gatewayWieghtBlue", "90")
	if output, err := c.run(t.Context(), "preview", "--stack", "local"); err == nil || !strings.Contains(output, "gatewayWieghtBlue") {
		t.Errorf("an unknown setting: %v\n%s", err, output)
	}
}
