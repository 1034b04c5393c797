package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"coditect.ai/platform/infra/controlplane"
)

// becomeReady waits until the controllers have made of every object what the plan wants of it.
func becomeReady(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, all []object) {
	t.Helper()
	judged := 0
	for _, o := range all {
		_, kind := controlplane.Kind(o)
		judge, known := judges[kind]
		if !known {
			continue
		}
		judged++
		await(ctx, t, c, func() string {
			now, err := c.Get(ctx, o)
			if err != nil {
				return fmt.Sprintf("%s: %v", title(o), err)
			}
			if complaint := judge(now); complaint != "" {
				status, _ := json.Marshal(now["status"])
				return fmt.Sprintf("%s: %s; its status: %s", title(o), complaint, status)
			}
			return ""
		})
	}
	// Claims of a StatefulSet are no objects of the plan.
	claims := 0
	await(ctx, t, c, func() string {
		found, err := c.List(ctx, "v1", "PersistentVolumeClaim", namespaceOf(all), "")
		if err != nil {
			return err.Error()
		}
		claims = len(found)
		if wanted := len(volumes(all)); claims != wanted {
			return fmt.Sprintf("%d claims, not %d", claims, wanted)
		}
		for _, claim := range found {
			if phase := child(claim, "status")["phase"]; phase != "Bound" {
				return fmt.Sprintf("%s is %v", title(claim), phase)
			}
		}
		return ""
	})
	t.Logf("%d objects judged by what controllers made of them, %d claims bound", judged, claims)
}

// namespaceOf is where a plan's gateway and the workloads behind it are.
func namespaceOf(all []object) string {
	for _, o := range all {
		if _, kind := controlplane.Kind(o); kind == "Gateway" {
			namespace, _ := child(o, "metadata")["namespace"].(string)
			return namespace
		}
	}
	return ""
}

// judges complain of an object that is not what the plan wants, as its
// controllers see it; what they say of an older generation does not count.
var judges = map[string]func(o object) string{
	"Deployment": func(o object) string {
		wanted, status := number(child(o, "spec"), "replicas"), child(o, "status")
		for _, field := range []string{"updatedReplicas", "readyReplicas", "availableReplicas", "replicas"} {
			if got := number(status, field); got != wanted {
				return fmt.Sprintf("%s is %d, not %d", field, got, wanted)
			}
		}
		return observed(o)
	},
	"StatefulSet": func(o object) string {
		if got, wanted := number(child(o, "status"), "readyReplicas"), number(child(o, "spec"), "replicas"); got != wanted {
			return fmt.Sprintf("%d of %d pods are ready", got, wanted)
		}
		return observed(o)
	},
	"Job": func(o object) string { return conditions(child(o, "status")["conditions"], 0, "Complete") },
	"PodDisruptionBudget": func(o object) string {
		status := child(o, "status")
		if expected := number(status, "expectedPods"); expected == 0 || number(status, "disruptionsAllowed") != 1 {
			return fmt.Sprintf("of %d pods %d may be disrupted, not 1", expected, number(status, "disruptionsAllowed"))
		}
		if problem := observed(o); problem != "" {
			return problem
		}
		return conditions(status["conditions"], generation(o), "DisruptionAllowed")
	},
	"HorizontalPodAutoscaler": func(o object) string {
		if got, least := number(child(o, "status"), "currentReplicas"), number(child(o, "spec"), "minReplicas"); got != least {
			return fmt.Sprintf("it sees %d pods, not %d", got, least)
		}
		return conditions(child(o, "status")["conditions"], 0, "AbleToScale")
	},
	"Gateway": func(o object) string {
		status := child(o, "status")
		listeners, _ := status["listeners"].([]any)
		if wanted := len(child(o, "spec")["listeners"].([]any)); len(listeners) != wanted {
			return fmt.Sprintf("%d of %d listeners are told of", len(listeners), wanted)
		}
		for i := range listeners {
			if problem := conditions(item(listeners, i)["conditions"], generation(o), "Accepted", "Programmed", "ResolvedRefs"); problem != "" {
				return fmt.Sprintf("listener %v: %s", item(listeners, i)["name"], problem)
			}
		}
		return conditions(status["conditions"], generation(o), "Accepted", "Programmed")
	},
	"HTTPRoute": func(o object) string {
		parents, _ := child(o, "status")["parents"].([]any)
		if len(parents) != 1 {
			return fmt.Sprintf("%d gateways have it, not 1", len(parents))
		}
		return conditions(item(parents, 0)["conditions"], generation(o), "Accepted", "ResolvedRefs")
	},
}

// conditions complains unless each of these is true, of the generation or a later one.
func conditions(list any, of int, wanted ...string) string {
	states := map[string]object{}
	all, _ := list.([]any)
	for i := range all {
		name, _ := item(all, i)["type"].(string)
		states[name] = item(all, i)
	}
	var wrong []string
	for _, name := range wanted {
		switch state := states[name]; {
		case state == nil:
			wrong = append(wrong, name+" is not told of")
		case state["status"] != "True":
			wrong = append(wrong, fmt.Sprintf("%s is %v: %v", name, state["status"], state["message"]))
		case number(state, "observedGeneration") < of:
			wrong = append(wrong, name+" is of an older generation")
		}
	}
	return strings.Join(wrong, "; ")
}

func observed(o object) string {
	if number(child(o, "status"), "observedGeneration") < generation(o) {
		return "its controller has not seen it as it is now"
	}
	return ""
}

func generation(o object) int { return number(child(o, "metadata"), "generation") }

// number is a field's, 0 where there is none.
func number(o object, field string) int {
	n, _ := o[field].(float64)
	return int(n)
}
