package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"coditect.ai/platform/infra/local"
	"coditect.ai/platform/infra/problem"
	"coditect.ai/platform/infra/simcloud/daemon"
	"coditect.ai/platform/infra/simcloud/store"
)

// simcloudCommand is the background process behind the local environment, which
// `up` starts. Below it is what a console of a cloud would do behind Pulumi's back.
func simcloudCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "simcloud", Short: "Run the simulated cloud", Args: cobra.NoArgs, Hidden: true}
	dir := cmd.Flags().String("dir", "", "where it keeps everything")
	buckets := cmd.Flags().String("buckets", "", "where mounted buckets are")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return daemon.Serve(cmd.Context(), daemon.Options{Directory: *dir, Buckets: *buckets, Prometheus: local.Prometheus()})
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List the objects of the local environment", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			cloud, err := simulated(cmd)
			if err != nil {
				return err
			}
			objects, err := cloud.Objects(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 2, 0, 2, ' ', 0)
			for _, object := range objects {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", object.Key.Kind, object.Key.ID())
			}
			return w.Flush()
		}},
		&cobra.Command{Use: "change KIND NAME PATCH", Short: "Merge a JSON patch into an object, or make it", Args: cobra.ExactArgs(3), RunE: func(cmd *cobra.Command, args []string) error {
			var patch map[string]any
			if err := json.Unmarshal([]byte(args[2]), &patch); err != nil {
				return problem.New(err, "the patch is no JSON object (%v): write it like '{\"spec\":{\"replicas\":1}}'.", err)
			}
			cloud, err := simulated(cmd)
			if err != nil {
				return err
			}
			return cloud.ChangeObject(cmd.Context(), objectKey(args[0], args[1]), patch)
		}},
		&cobra.Command{Use: "delete KIND NAME", Short: "Delete an object", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
			cloud, err := simulated(cmd)
			if err != nil {
				return err
			}
			key := objectKey(args[0], args[1])
			return cloud.DeleteObject(cmd.Context(), key.Kind, key.Namespace, key.Name)
		}},
	)
	return cmd
}

// simulated reaches the simulated cloud of the local environment.
func simulated(cmd *cobra.Command) (*daemon.Client, error) {
	env, err := local.Open(".", cmd.OutOrStdout())
	if err != nil {
		return nil, err
	}
	return env.Cloud(cmd.Context())
}

// objectKey names an object as `list` shows it.
func objectKey(kind, name string) store.Key {
	key := store.Key{Kind: kind, Name: name}
	if !strings.HasPrefix(kind, "gcp:") { // whose names are paths
		if namespace, inside, found := strings.Cut(name, "/"); found {
			key.Namespace, key.Name = namespace, inside
		}
	}
	return key
}
