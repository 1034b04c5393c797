package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"coditect.ai/platform/stacks"
)

// before are the APIs that turn on the others; a first update cannot begin without them.
var before = []string{"cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com"}

// Project looks at the environment's project in Google Cloud, with the operator's
// own credentials. apis are those that the program turns on.
func Project(ctx context.Context, s stacks.Settings, apis []string, tools Commands, report *Report) {
	environment, id := string(s.Environment), s.Cloud.ProjectID
	stack(ctx, environment, tools, report)

	account, err := tools.Run(ctx, "gcloud", "auth", "list", "--filter=status:ACTIVE", "--format=value(account)")
	if !report.verdict(err == nil && account != "", "signed in to Google Cloud", told(account, err), "gcloud auth login") {
		skip(report, "the project is looked at once somebody is signed in", "project", "billing", "APIs", "quotas", "secrets")
		return
	}
	_, err = tools.Run(ctx, "gcloud", "auth", "application-default", "print-access-token", "--quiet") // which is not kept
	report.verdict(err == nil, "credentials for Pulumi", told("application default", err), "gcloud auth application-default login")

	var project struct {
		ProjectNumber  string `json:"projectNumber"`
		LifecycleState string `json:"lifecycleState"`
	}
	err = ask(ctx, tools, &project, "projects", "describe", id)
	switch {
	case err != nil:
		report.add("project", Mend, id+": "+err.Error(), "is it called so, and may %s see it? gcloud projects list", account)
		skip(report, "the project cannot be seen", "billing", "APIs", "quotas", "secrets")
		return
	case project.LifecycleState != "ACTIVE":
		report.add("project", Mend, id+" is "+project.LifecycleState, "gcloud projects undelete %s, or name another one", id)
	default:
		report.verdict(project.ProjectNumber == s.Cloud.ProjectNumber, "project", fmt.Sprintf("%s has the number %s", id, project.ProjectNumber),
			"pulumi config set --stack %s projectNumber %s", environment, project.ProjectNumber)
	}
	billing, err := tools.Run(ctx, "gcloud", "billing", "projects", "describe", id, "--format=value(billingEnabled)")
	if err != nil {
		report.add("billing", Note, err.Error(), "who may not see it cannot tell: ask whoever pays")
	} else {
		report.verdict(strings.EqualFold(billing, "true"), "billing", "enabled: "+billing, "gcloud billing projects link %s --billing-account ACCOUNT", id)
	}
	enabled(ctx, id, apis, tools, report)
	quotas(ctx, s, tools, report)
	values(ctx, s, tools, report)
}

func skip(report *Report, why string, what ...string) {
	for _, one := range what {
		report.add(one, Skip, why, "")
	}
}

// ask runs gcloud and reads its answer.
func ask(ctx context.Context, tools Commands, into any, args ...string) error {
	text, err := tools.Run(ctx, "gcloud", append(args, "--format=json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("understand gcloud: %w", err)
	}
	return nil
}

// stack looks for the environment's stack where this machine's Pulumi is logged in.
func stack(ctx context.Context, environment string, tools Commands, report *Report) {
	text, err := tools.Run(ctx, "pulumi", "stack", "ls", "--json", "--non-interactive")
	var known []struct {
		Name          string `json:"name"`
		ResourceCount *int   `json:"resourceCount"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &known)
	}
	if err != nil {
		report.add("state", Mend, err.Error(), "pulumi login gs://… (docs/environments.md, step 2)")
		return
	}
	for _, one := range known {
		if one.Name == environment {
			found := "stack " + environment
			if one.ResourceCount != nil {
				found += fmt.Sprintf(", %d resources", *one.ResourceCount)
			}
			report.add("state", OK, found, "")
			return
		}
	}
	report.add("state", Mend, "no stack "+environment, "pulumi stack init %s, or log in to the backend that has it", environment)
}

func enabled(ctx context.Context, id string, apis []string, tools Commands, report *Report) {
	text, err := tools.Run(ctx, "gcloud", "services", "list", "--enabled", "--project", id, "--format=value(config.name)")
	if err != nil {
		report.add("APIs", Mend, err.Error(), "gcloud services enable %s --project %s", strings.Join(before, " "), id)
		return
	}
	on := strings.Fields(text)
	missing := func(of []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(of), func(api string) bool { return slices.Contains(on, api) }), " ")
	}
	if first := missing(before); first != "" {
		report.add("APIs", Mend, "off: "+first, "gcloud services enable %s --project %s", first, id)
		return
	}
	if rest := missing(apis); rest != "" {
		report.add("APIs", Note, "off: "+rest, "the first `pulumi up` turns them on")
		return
	}
	report.add("APIs", OK, "all on", "")
}

// quota is what the region allows of one thing.
type quota struct {
	Metric string  `json:"metric"`
	Limit  float64 `json:"limit"`
	Usage  float64 `json:"usage"`
}

// quotas holds what the settings may come to take against what the region allows.
func quotas(ctx context.Context, s stacks.Settings, tools Commands, report *Report) {
	var region struct {
		Quotas []quota `json:"quotas"`
	}
	if err := ask(ctx, tools, &region, "compute", "regions", "describe", s.Cloud.Region, "--project", s.Cloud.ProjectID); err != nil {
		report.add("quotas", Note, err.Error(), "they can be told once compute.googleapis.com is on")
		return
	}
	for _, need := range needs(s) {
		i := slices.IndexFunc(region.Quotas, func(q quota) bool { return q.Metric == need.metric })
		if i < 0 {
			continue // this region does not count it
		}
		q := region.Quotas[i]
		found := fmt.Sprintf("%s of %s: %.0f in use; the settings take up to %.0f (%s)", need.metric, s.Cloud.Region, q.Usage, need.amount, need.of)
		how := fmt.Sprintf("ask for %.0f or more: https://console.cloud.google.com/iam-admin/quotas?project=%s", need.amount, s.Cloud.ProjectID)
		switch {
		case q.Limit < need.amount:
			report.add("quota", Mend, fmt.Sprintf("%.0f %s", q.Limit, found), how)
		case q.Limit-q.Usage < need.amount:
			report.add("quota", Note, fmt.Sprintf("%.0f %s", q.Limit, found), "enough where what is in use is this environment's own; else "+how)
		default:
			report.add("quota", OK, fmt.Sprintf("%.0f %s", q.Limit, found), "")
		}
	}
}

// need is what an environment may come to take of a quota.
type need struct {
	metric string
	amount float64
	of     string
}

func needs(s stacks.Settings) []need {
	nodes := s.Cluster.MaxNodes + 1 // one more during upgrades
	family, _, _ := strings.Cut(s.Cluster.MachineType, "-")
	cores := map[string]string{"n2": "N2_CPUS", "n2d": "N2D_CPUS"}[family]
	if cores == "" {
		cores = "CPUS"
	}
	gb := func(m stacks.Memory) float64 { return float64(m) / float64(stacks.GiB) }
	disks, volumes := float64(nodes)*gb(s.Cluster.DiskSize), float64(s.Database.Replicas)*gb(s.Database.StorageSize)
	standard, fast := 0.0, disks
	if s.Cluster.DiskType == "pd-standard" {
		standard, fast = disks, 0
	}
	if s.Database.StorageClass == "standard" {
		standard += volumes
	} else {
		fast += volumes // standard-rwo is pd-balanced, which counts as SSD
	}
	all := []need{{cores, float64(nodes * s.Cluster.Cores()), fmt.Sprintf("%d nodes of %s", nodes, s.Cluster.MachineType)}}
	for _, one := range []need{
		{"DISKS_TOTAL_GB", standard, "nodes' disks and volumes on pd-standard"},
		{"SSD_TOTAL_GB", fast, "nodes' disks and volumes on pd-balanced or pd-ssd"},
	} {
		if one.amount > 0 {
			all = append(all, one)
		}
	}
	return all
}

// values looks whether secrets that need a value from outside have one.
func values(ctx context.Context, s stacks.Settings, tools Commands, report *Report) {
	secrets := []struct{ name, how string }{{"jwt-secret", "coditect-api keygen key && gcloud secrets versions add jwt-secret --project %[1]s --data-file=key && shred -u key"}}
	if s.Backup.AccessID != "" {
		secrets = append(secrets, struct{ name, how string }{"fdb-backup-credentials", "docs/environments.md, step 7"})
	}
	if s.Mail.User != "" {
		secrets = append(secrets, struct{ name, how string }{"mail-password", "gcloud secrets versions add mail-password --project %[1]s --data-file=-"})
	}
	if s.Operated() {
		secrets = append(secrets, struct{ name, how string }{"pulumi-passphrase", "gcloud secrets versions add pulumi-passphrase --project %[1]s --data-file=-"})
	}
	for _, secret := range secrets {
		found, err := tools.Run(ctx, "gcloud", "secrets", "versions", "list", secret.name, "--project", s.Cloud.ProjectID,
			"--filter=state:ENABLED", "--limit=1", "--format=value(name)")
		switch {
		case errors.Is(err, ErrNoTool):
			return
		case err != nil && (strings.Contains(err.Error(), "NOT_FOUND") || strings.Contains(err.Error(), "not found")):
			report.add("secret "+secret.name, Note, "not made yet", "the first `pulumi up` makes it; then it needs a value")
		case err != nil:
			report.add("secret "+secret.name, Note, err.Error(), "whether it has a value could not be told")
		default:
			how := secret.how
			if strings.Contains(how, "%") {
				how = fmt.Sprintf(how, s.Cloud.ProjectID)
			}
			report.verdict(found != "", "secret "+secret.name, map[bool]string{true: "has a value", false: "has no value"}[found != ""], "%s", how)
		}
	}
}
