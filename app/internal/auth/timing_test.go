package auth

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/fault"
)

// TestTimingTellsNoAddresses is a measurement, which a busy machine spoils: it
// runs only where it is asked for. Known and unknown addresses take turns, n
// times each, at login, registration and reset; a rank test must not be able to
// tell them apart.
func TestTimingTellsNoAddresses(t *testing.T) {
	if os.Getenv("MEASURE_TIMING") == "" {
		t.Skip("set MEASURE_TIMING=1, on a machine that does nothing else")
	}
	const n = 300
	e := newEnv(t, Config{HashWait: time.Minute, Password: Config{}.withDefaults().Password})
	for i := range n {
		e.mustRegister(t, fmt.Sprintf("known%d@example.com", i))
	}
	from := func(i int) string { return fmt.Sprintf("203.0.%d.%d", i/250, i%250) }
	for name, act := range map[string]func(ctx context.Context, email string, i int) error{
		"login": func(ctx context.Context, email string, i int) error {
			_, err := e.Login(ctx, Credentials{Email: email, Password: "a wrong guess", Address: from(i)})
			if fault.CodeOf(err) == fault.InvalidCredentials {
				return nil
			}
			return fmt.Errorf("login: %w", err)
		},
		"reset": func(ctx context.Context, email string, i int) error {
			return e.ForgotPassword(ctx, email, from(i))
		},
		// The answer itself tells that an address is taken, which is its purpose;
		// who sees but how long it takes learns nothing.
		"registration": func(ctx context.Context, email string, i int) error {
			r := registration(strings.Replace(email, "other", "new", 1)) // the others stay unknown
			r.Address = from(i)
			_, err := e.Register(ctx, r)
			if fault.CodeOf(err) == fault.EmailTaken {
				return nil
			}
			return err
		},
	} {
		var known, unknown []float64
		timed := func(into *[]float64, email string, i int) {
			start := time.Now()
			err := act(t.Context(), email, i)
			*into = append(*into, float64(time.Since(start)))
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			k, u := fmt.Sprintf("known%d@example.com", i), fmt.Sprintf("other%d@example.com", i)
			if i%2 == 0 { // neither is always the first
				timed(&known, k, 2*i)
				timed(&unknown, u, 2*i+1)
			} else {
				timed(&unknown, u, 2*i+1)
				timed(&known, k, 2*i)
			}
		}
		z := rankTest(known, unknown)
		t.Logf("%s: median %v for known, %v for unknown addresses; z = %.2f", name, median(known), median(unknown), z)
		if math.Abs(z) > 3.29 { // p < 0.001
			t.Errorf("%s tells known addresses from unknown ones: z = %.2f", name, z)
		}
	}
}

func median(v []float64) time.Duration {
	s := slices.Sorted(slices.Values(v))
	return time.Duration(s[len(s)/2])
}

// rankTest is Mann and Whitney's: how far, in standard deviations, the ranks of
// a are from what they would be if a and b were of one distribution.
func rankTest(a, b []float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	sum := 0.0
	for _, v := range a {
		i, _ := slices.BinarySearch(all, v)
		sum += float64(i + 1)
	}
	n, m := float64(len(a)), float64(len(b))
	u := sum - n*(n+1)/2
	return (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}

func TestRankTestSeesADifference(t *testing.T) {
	t.Parallel()
	var a, b, c []float64
	for i := range 300 {
		a, b, c = append(a, float64(2*i)), append(b, float64(2*i+1)), append(c, float64(2*i+100))
	}
	if z := rankTest(a, b); math.Abs(z) > 0.5 {
		t.Errorf("z = %.2f of what is the same", z)
	}
	if z := rankTest(a, c); math.Abs(z) < 3.29 {
		t.Errorf("z = %.2f of what differs", z)
	}
}
