package slots

import (
	"strconv"

	"coditect.ai/platform/infra/companion"
	"coditect.ai/platform/infra/retire"
	"coditect.ai/platform/stacks"
)

// LegacyTargets match all resources of API v2, its route included, as the engine's --target does.
func LegacyTargets() []string {
	return []string{"**::" + companion.LegacyApp, "**::" + companion.LegacyApp + "-*", "**::legacy"}
}

// ReadLegacy is what the settings say of API v2.
func ReadLegacy(s stacks.Legacy) retire.Configuration {
	return retire.Configuration{Image: s.Image, Replicas: s.Replicas, Routed: s.Routed}
}

// Legacy are the settings of API v2, "" for one that is the default and is left out.
func Legacy(c retire.Configuration) map[string]string {
	settings := map[string]string{
		"legacyImage": c.Image, "legacyReplicas": strconv.Itoa(c.Replicas), "legacyRouted": strconv.FormatBool(c.Routed),
	}
	for _, known := range stacks.Table() {
		if value, ours := settings[known.Key]; ours && value == known.Default {
			settings[known.Key] = ""
		}
	}
	return settings
}
