package scripts

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Where a stand-in finds what it knows of its cluster.
const envWorld = "STANDIN_WORLD"

// world is what stands behind the tools: one cluster, and one bucket.
type world struct {
	State     string            `json:"state"`    // of the restore with the tag default; "" where there was none
	Occupied  bool              `json:"occupied"` // the database holds records
	Newest    map[string]uint64 `json:"newest"`   // the newest restorable version, by backup
	Running   []string          `json:"running"`  // backups that are written
	Aborts    bool              `json:"aborts"`   // a restore that is waited for is aborted by somebody
	Dies      bool              `json:"dies"`     // the tool is killed while it waits; the agents go on
	Version   string            `json:"version"`  // what getversion answers
	Uploads   map[string]string `json:"uploads"`  // objects that curl has written
	Calls     []string          `json:"calls"`
	TokenGone bool              `json:"tokengone"`
}

func load() (*world, error) {
	raw, err := os.ReadFile(os.Getenv(envWorld))
	if err != nil {
		return nil, err
	}
	w := &world{}
	return w, json.Unmarshal(raw, w)
}

func (w *world) save(path string) error {
	raw, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

// A pod's script runs these under the names of the tools.
func TestMain(m *testing.M) {
	tool := map[string]func(*world, []string) int{
		"fdbrestore": fdbrestore, "fdbbackup": fdbbackup, "fdbcli": fdbcli, "curl": curl,
	}[filepath.Base(os.Args[0])]
	if tool == nil {
		os.Exit(m.Run())
	}
	w, err := load()
	if err != nil {
		fmt.Fprintln(os.Stderr, "stand-in:", err)
		os.Exit(99)
	}
	w.Calls = append(w.Calls, filepath.Base(os.Args[0])+" "+strings.Join(os.Args[1:], " "))
	code := tool(w, os.Args[1:])
	if err := w.save(os.Getenv(envWorld)); err != nil {
		code = 99
	}
	os.Exit(code)
}

// failed ends a tool as the real one ends.
func failed(format string, args ...any) int {
	fmt.Fprintf(os.Stderr, "ERROR: "+format+"\n", args...)
	return 1
}

// options takes arguments apart; one that is not listed is refused. A listed one
// takes a value where it is true.
func options(args []string, known map[string]bool) (map[string]string, error) {
	found := map[string]string{}
	for i := 0; i < len(args); i++ {
		value, listed := known[args[i]]
		_, twice := found[args[i]]
		switch {
		case !listed || twice:
			return nil, fmt.Errorf("unknown argument %s", args[i])
		case !value:
			found[args[i]] = "set"
		case i+1 == len(args):
			return nil, fmt.Errorf("%s needs a value", args[i])
		default:
			found[args[i]] = args[i+1]
			i++
		}
	}
	return found, nil
}

// connect is what every tool does first: the cluster file must be there, and may be written.
func connect(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cluster file %q: %w", file, err)
	}
	return f.Close()
}

// container returns a backup's name: the URL, the key and the authorities must be as FoundationDB wants them.
func container(url string) (string, error) {
	rest, ok := strings.CutPrefix(url, "blobstore://")
	id, rest, named := strings.Cut(rest, "@storage.googleapis.com/")
	name, query, parameters := strings.Cut(rest, "?")
	if !ok || !named || !parameters || !strings.HasPrefix(id, "GOOG") || name == "" ||
		!strings.Contains(query, "bucket=") || !strings.Contains(query, "region=") || !strings.Contains(query, "sc=1") {
		return "", fmt.Errorf("backup URL %q", url)
	}
	for _, variable := range []string{"FDB_BLOB_CREDENTIALS", "FDB_TLS_CA_FILE"} {
		if os.Getenv(variable) == "" {
			return "", errors.New("no " + variable)
		}
	}
	return name, nil
}

func fdbrestore(w *world, args []string) int {
	if len(args) == 0 {
		return failed("no action")
	}
	o, err := options(args[1:], map[string]bool{"--dest-cluster-file": true, "-t": true, "-r": true, "-v": true, "-w": false, "-n": false})
	if err == nil {
		err = connect(o["--dest-cluster-file"])
	}
	if err != nil {
		return failed("%v", err)
	}
	switch args[0] {
	case "status":
		state := w.State
		if state == "" {
			state = "unitialized" // the tool's own spelling
		}
		fmt.Printf("Tag: %s  UID: 0123  State: %s  Blocks: 1/2  BlocksInProgress: 0  Files: 1  LastError: None  URL: x\n\n", o["-t"], state)
		return 0
	case "wait":
		return w.wait()
	case "start":
	default:
		return failed("unknown action %s", args[0])
	}
	name, err := container(o["-r"])
	if err != nil {
		return failed("%v", err)
	}
	version, err := strconv.ParseUint(o["-v"], 10, 63)
	if err != nil {
		return failed("Restore version %s is not a number", o["-v"])
	}
	newest, known := w.Newest[name]
	if !known || version > newest {
		return failed("Insufficient data to restore to version %d. Describe backup for more information.\nERROR: Invalid restore version", version)
	}
	if o["-n"] != "" {
		fmt.Printf("Backup can be used to restore to version %d\n", version)
		return 0
	}
	switch {
	case w.State == "running":
		return failed("Restore duplicate request")
	case w.Occupied:
		return failed("Attempted to restore into a non-empty destination database")
	}
	w.State, w.Occupied = "running", true
	if o["-w"] == "" {
		return 0
	}
	return w.wait()
}

// wait ends well whatever the restore has come to, as the real one does.
func (w *world) wait() int {
	switch {
	case w.Dies:
		w.Dies = false
		return 137
	case w.Aborts:
		w.State = "aborted"
	case w.State == "running":
		w.State = "completed"
	}
	return 0
}

func fdbbackup(w *world, args []string) int {
	if len(args) == 0 {
		return failed("no action")
	}
	o, err := options(args[1:], map[string]bool{
		"-C": true, "-d": true, "-t": true, "-z": false, "-s": true, "--delete-before-days": true, "--min-restorable-days": true, "--version-timestamps": false,
	})
	if err == nil {
		err = connect(o["-C"])
	}
	name := ""
	if err == nil {
		name, err = container(o["-d"])
	}
	if err != nil {
		return failed("%v", err)
	}
	_, exists := w.Newest[name]
	switch args[0] {
	case "start":
		if len(w.Running) > 0 {
			fmt.Println("ERROR: A backup is already running on tag `default'")
			return 1
		}
		w.Running = append(w.Running, name)
		fmt.Println("The backup on tag `default' was successfully submitted.")
	case "expire":
		if !exists || o["--delete-before-days"] == "" || o["--min-restorable-days"] == "" {
			return failed("Cannot expire")
		}
	case "describe":
		fmt.Printf("URL: %s\nRestorable: %t\n", o["-d"], exists)
	default:
		return failed("unknown action %s", args[0])
	}
	return 0
}

func fdbcli(w *world, args []string) int {
	o, err := options(args, map[string]bool{"-C": true, "--timeout": true, "--exec": true})
	if err == nil {
		err = connect(o["-C"])
	}
	if err != nil || o["--exec"] != "getversion" {
		return failed("%v %v", err, o)
	}
	fmt.Println(w.Version)
	return 0
}

func curl(w *world, args []string) int {
	refused := func(status int) int {
		fmt.Fprintf(os.Stderr, "curl: (22) The requested URL returned error: %d\n", status)
		return 22
	}
	url := args[len(args)-1]
	if strings.HasPrefix(url, "http://metadata.google.internal/") {
		if w.TokenGone {
			return refused(404)
		}
		fmt.Println(`{"access_token":"TOKEN","expires_in":3599,"token_type":"Bearer"}`)
		return 0
	}
	authorized, output := false, ""
	query := map[string]string{}
	for i, arg := range args[1:] {
		switch args[i] {
		case "-H":
			if header, ok := strings.CutPrefix(arg, "@"); ok {
				raw, err := os.ReadFile(header)
				authorized = err == nil && string(raw) == "Authorization: Bearer TOKEN"
			}
		case "-o":
			output = arg
		case "--data-urlencode":
			key, value, _ := strings.Cut(arg, "=")
			query[key] = value
		}
	}
	if !authorized {
		return refused(401)
	}
	switch {
	case strings.Contains(url, "/upload/"):
		return w.upload(url)
	case strings.HasSuffix(url, "?alt=media"):
		_, name, _ := strings.Cut(strings.TrimSuffix(url, "?alt=media"), "/o/")
		content, found := w.Uploads[name]
		if !found || os.WriteFile(output, []byte(content), 0o600) != nil {
			return refused(404)
		}
	case strings.HasSuffix(url, "/o"):
		list(w, query)
	default:
		return refused(400)
	}
	return 0
}

func (w *world) upload(url string) int {
	_, name, _ := strings.Cut(url, "&name=")
	body, err := readAll()
	if err != nil {
		return 26
	}
	if _, there := w.Uploads[name]; there {
		fmt.Fprintln(os.Stderr, "curl: (22) The requested URL returned error: 412")
		return 22
	}
	if w.Uploads == nil {
		w.Uploads = map[string]string{}
	}
	w.Uploads[name] = body
	return 0
}

// list answers as Cloud Storage does, a property a line.
func list(w *world, query map[string]string) {
	var names []string
	for name := range w.Uploads {
		name = strings.NewReplacer("%2F", "/", "%3A", ":").Replace(name)
		if strings.HasPrefix(name, query["prefix"]) && name >= query["startOffset"] && name < query["endOffset"] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fmt.Print("{\n")
	for i, name := range names {
		if i == 0 {
			fmt.Print("  \"items\": [\n")
		}
		fmt.Printf("    {\n      \"name\": %q\n    },\n", name)
	}
	fmt.Print("}\n")
}
