package stacks

import "testing"

func TestQuantities(t *testing.T) {
	for text, want := range map[string]string{"512Mi": "512Mi", "1024Mi": "1Gi", "4Gi": "4Gi", "2048Gi": "2Ti", "1536Mi": "1536Mi"} {
		if got, err := parseMemory(text); err != nil || got.String() != want {
			t.Errorf("memory %s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"200m": "200m", "1000m": "1", "2": "2", "1500m": "1500m"} {
		if got, err := parseCPU(text); err != nil || got.String() != want {
			t.Errorf("CPU %s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "4", "4G", "1.5Gi", "-1Gi", "Gi", "99999999999999Ti"} {
		if got, err := parseMemory(text); err == nil {
			t.Errorf("memory %q was read as %s", text, got)
		}
	}
	for _, text := range []string{"", "m", "-1", "0.5", "2 cores", "99999999999"} {
		if got, err := parseCPU(text); err == nil {
			t.Errorf("CPU %q was read as %s", text, got)
		}
	}
}

// GKE's documentation states what an e2-standard-4 offers: 3.92 cores and 13.3 GB.
func TestAllocatable(t *testing.T) {
	got, err := allocatable("e2-standard-4")
	if err != nil || got.cpu != 3920 || got.memory/MiB != 13621 {
		t.Errorf("e2-standard-4 offers %s CPU and %dMi: %v", got.cpu, got.memory/MiB, err)
	}
	for _, name := range []string{"e2-medium", "e2-standard-0", "n7-standard-4", ""} {
		if _, err := allocatable(name); err == nil {
			t.Errorf("%q was taken for a machine type", name)
		}
	}
}
