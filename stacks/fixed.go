package stacks

import (
	"fmt"
	"maps"
	"slices"
)

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
		if was, known := deployed[key]; known && was != now[key] {
			faults = append(faults, Fault{Key: key, Reason: fmt.Sprintf("is %q, and %q is deployed: %s", now[key], was, reasons[key])})
		}
	}
	return faults
}
