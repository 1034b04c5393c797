package stacks

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// generationKey is the one setting that may grow and never shrink.
const generationKey = "databaseGeneration"

// Fixed is the value of every setting that cannot change once the environment is
// made, by key, as text that is the same for the same value.
func (s Settings) Fixed() map[string]string {
	fixed := map[string]string{}
	for _, f := range fields(&s) {
		if f.Immutable != "" {
			fixed[f.Key] = fmt.Sprint(f.target.Interface())
		}
	}
	fixed["backupBucket"] = s.BackupBucket() // whether it is named or goes by the project
	fixed[generationKey] = strconv.Itoa(s.Database.Generation)
	return fixed
}

// Moved is a fault for each fixed setting that differs from what deployed, an
// earlier [Settings.Fixed], says. What that does not speak of is no fault.
func (s Settings) Moved(deployed map[string]string) []Fault {
	reasons := map[string]string{}
	for _, setting := range Table() {
		reasons[setting.Key] = setting.Immutable
	}
	now := s.Fixed()
	var faults []Fault
	for _, key := range slices.Sorted(maps.Keys(now)) {
		was, known := deployed[key]
		if known && key == generationKey {
			if before, err := strconv.Atoi(was); err == nil && before > s.Database.Generation {
				faults = append(faults, Fault{Key: key, Reason: fmt.Sprintf("is %s, and %s is deployed: a recovery has raised it, and this file is older; the service would be led to records of before, or to none", now[key], was)})
			}
			continue
		}
		if known && was != now[key] {
			faults = append(faults, Fault{Key: key, Reason: fmt.Sprintf("is %q, and %q is deployed: %s", now[key], was, reasons[key])})
		}
	}
	return faults
}

// operatedKey tells in [Settings.Released] whether the environment moved its releases itself.
const operatedKey = "operated"

// Released is the value of every setting that releases and the retirement of API v2
// decide, by key.
func (s Settings) Released() map[string]string {
	return map[string]string{
		operatedKey:        strconv.FormatBool(s.Operated()),
		"serviceImageBlue": s.Service.ImageBlue, "serviceImageGreen": s.Service.ImageGreen,
		"gatewayWeightBlue": strconv.Itoa(s.Gateway.WeightBlue), "gatewayWeightGreen": strconv.Itoa(s.Gateway.WeightGreen),
		"legacyImage": s.Legacy.Image, "legacyRouted": strconv.FormatBool(s.Legacy.Routed),
	}
}

// Reverted is a fault for each of them that differs from what deployed, an earlier
// [Settings.Released], says, where the environment moves its releases itself, or did:
// nobody has written their outcome into this file, which may be of before that. A slot
// that holds nothing may be given its first image.
func (s Settings) Reverted(deployed map[string]string) []Fault {
	if !s.Operated() && deployed[operatedKey] != "true" {
		return nil
	}
	now := s.Released()
	delete(now, operatedKey)
	var faults []Fault
	for _, key := range slices.Sorted(maps.Keys(now)) {
		was, known := deployed[key]
		first := was == "" && key != "legacyImage"
		if known && !first && was != now[key] {
			faults = append(faults, Fault{Key: key, Reason: fmt.Sprintf("is %q, and %q is deployed: a release has changed it since; take over what it has made (coditect rollout settings --env %s)", now[key], was, s.Environment)})
		}
	}
	return faults
}
