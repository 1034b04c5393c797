package gcp

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"coditect.ai/platform/infra/google/sdk"
)

// The table requires nothing that the SDK does not, and replaces what the SDK's
// documentation says is replaced.
func TestTableAgreesWithTheSDK(t *testing.T) {
	t.Parallel()
	s, err := sdk.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range slices.Sorted(maps.Keys(kinds)) {
		arguments, err := s.Arguments(typ)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, name := range kinds[typ].required {
			if argument, known := arguments[name]; !known {
				t.Errorf("%s: %s is required and no argument", typ, name)
			} else if !argument.Required && !conditional(typ, name) {
				t.Errorf("%s: %s is required here alone", typ, name)
			}
		}
		for _, name := range kinds[typ].replaces {
			if _, known := arguments[name]; !known && !strings.HasSuffix(typ, "Member") {
				t.Errorf("%s: %s replaces and is no argument", typ, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(arguments)) {
			if arguments[name].Replaces && name != "project" && !slices.Contains(kinds[typ].replaces, name) {
				t.Errorf("%s: a change of %s replaces, says the SDK", typ, name)
			}
		}
	}
}

// conditional arguments are optional in the SDK's types, or lists, of which the
// types do not tell, and asked for by the cloud.
func conditional(typ, name string) bool {
	return typ == "gcp:certificatemanager/certificateMapEntry:CertificateMapEntry" && name == "certificates" ||
		typ == "gcp:monitoring/alertPolicy:AlertPolicy" && name == "conditions"
}
