// Package sdk reads what Pulumi's SDK for Google Cloud says of its resources'
// arguments, from its source: names, types, what is required, and what cannot be
// changed in place. Tests hold the program and the simulated cloud to it; the
// provider's own schema is not a Go module.
package sdk

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/pulumi/pulumi-gcp/sdk/v7"

// SDK is the SDK's source. It is not for several goroutines at once.
type SDK struct {
	directory string
	packages  map[string]*source
}

// Argument is one argument of a resource.
type Argument struct {
	Required bool
	// Replaces tells that a change makes the resource anew, by the words of its documentation.
	Replaces bool

	typ ast.Expr
}

// source is one package's types.
type source struct {
	types map[string]*ast.StructType
	// resources are their Go names, by their types' names.
	resources map[string]string
}

// Open finds the SDK that this module is built with.
func Open(ctx context.Context) (*SDK, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return nil, fmt.Errorf("find the source of %s: %w", module, err)
	}
	return &SDK{directory: filepath.Join(strings.TrimSpace(string(out)), "go", "gcp"), packages: map[string]*source{}}, nil
}

// Arguments are those of a type, like "gcp:compute/network:Network", by name.
func (s *SDK) Arguments(kind string) (map[string]Argument, error) {
	src, name, err := s.find(kind)
	if err != nil {
		return nil, err
	}
	// The plain struct has the types as they are, the exported one the documentation.
	plain, documented := src.plain(name+"Args"), src.types[name+"Args"]
	if plain == nil || documented == nil {
		return nil, fmt.Errorf("%s: the SDK has no arguments of %s", kind, name)
	}
	replacing := map[string]bool{}
	for _, field := range documented.Fields.List {
		words := strings.Join(strings.Fields(field.Doc.Text()), " ")
		replacing[tag(field)] = strings.Contains(words, "forces a new resource") || strings.Contains(words, "Changing this forces")
	}
	found := map[string]Argument{}
	for property, argument := range properties(plain) {
		argument.Replaces = replacing[property]
		found[property] = argument
	}
	return found, nil
}

// Faults are what the SDK would not take of a resource's inputs, each with its
// path, in order.
func (s *SDK) Faults(kind string, inputs map[string]any) ([]string, error) {
	arguments, err := s.Arguments(kind)
	if err != nil {
		return nil, err
	}
	var faults []string
	s.packages[folder(kind)].object("", arguments, inputs, &faults)
	slices.Sort(faults)
	return faults, nil
}

// plain finds the unexported twin of an exported type: iammemberArgs of IAMMemberArgs.
func (s *source) plain(exported string) *ast.StructType {
	for name, structure := range s.types {
		if strings.EqualFold(name, exported) && !ast.IsExported(name) {
			return structure
		}
	}
	return nil
}

func folder(kind string) string {
	_, path, _ := strings.Cut(kind, ":")
	path, _, _ = strings.Cut(path, "/")
	return strings.ToLower(path)
}

// find loads the package of a type and returns the Go name of its resource.
func (s *SDK) find(kind string) (*source, string, error) {
	src, loaded := s.packages[folder(kind)]
	if !loaded {
		var err error
		if src, err = load(filepath.Join(s.directory, folder(kind))); err != nil {
			return nil, "", fmt.Errorf("%s: %w", kind, err)
		}
		s.packages[folder(kind)] = src
	}
	name, ok := src.resources[kind]
	if !ok {
		return nil, "", fmt.Errorf("%s: the SDK has no such resource", kind)
	}
	return src, name, nil
}

func load(directory string) (*source, error) {
	paths, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("read the SDK's source: nothing in %s (%w)", directory, err)
	}
	src := &source{types: map[string]*ast.StructType{}, resources: map[string]string{}}
	files := token.NewFileSet()
	for _, path := range paths {
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("read the SDK's source: %w", err)
		}
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if named, ok := spec.(*ast.TypeSpec); ok {
						if structure, ok := named.Type.(*ast.StructType); ok {
							src.types[named.Name.Name] = structure
						}
					}
				}
			case *ast.FuncDecl:
				// NewX registers the token of X.
				if name, ok := strings.CutPrefix(d.Name.Name, "New"); ok && d.Recv == nil {
					if token := registered(d); token != "" {
						src.resources[token] = name
					}
				}
			}
		}
	}
	return src, nil
}

func registered(d *ast.FuncDecl) string {
	found := ""
	ast.Inspect(d, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if selected, ok := call.Fun.(*ast.SelectorExpr); ok && selected.Sel.Name == "RegisterResource" {
			if literal, ok := call.Args[0].(*ast.BasicLit); ok {
				found, _ = strconv.Unquote(literal.Value)
			}
		}
		return true
	})
	return found
}

func tag(field *ast.Field) string {
	if field.Tag == nil {
		return ""
	}
	text, err := strconv.Unquote(field.Tag.Value)
	if err != nil {
		return ""
	}
	return reflect.StructTag(text).Get("pulumi")
}

// properties are a plain struct's: what is neither a pointer, a list nor a map is required.
func properties(structure *ast.StructType) map[string]Argument {
	found := map[string]Argument{}
	for _, field := range structure.Fields.List {
		name := tag(field)
		if name == "" {
			continue
		}
		argument := Argument{typ: field.Type}
		switch field.Type.(type) {
		case *ast.StarExpr, *ast.MapType, *ast.InterfaceType:
		case *ast.ArrayType:
			// A list that must not be empty looks the same as one that may be.
		default:
			argument.Required = true
		}
		found[name] = argument
	}
	return found
}

func (s *source) object(path string, arguments map[string]Argument, value map[string]any, faults *[]string) {
	for _, name := range slices.Sorted(maps.Keys(value)) {
		argument, known := arguments[name]
		if !known {
			*faults = append(*faults, join(path, name)+" is no argument")
			continue
		}
		s.value(join(path, name), argument.typ, value[name], faults)
	}
	for _, name := range slices.Sorted(maps.Keys(arguments)) {
		if _, given := value[name]; arguments[name].Required && !given {
			*faults = append(*faults, join(path, name)+" is required")
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (s *source) value(path string, typ ast.Expr, value any, faults *[]string) {
	wrong := func(want string) { *faults = append(*faults, fmt.Sprintf("%s is a %T, not %s", path, value, want)) }
	switch t := typ.(type) {
	case *ast.StarExpr:
		s.value(path, t.X, value, faults)
	case *ast.ArrayType:
		list, ok := value.([]any)
		if !ok {
			wrong("a list")
		}
		for i, one := range list {
			s.value(fmt.Sprintf("%s[%d]", path, i), t.Elt, one, faults)
		}
	case *ast.MapType:
		entries, ok := value.(map[string]any)
		if !ok {
			wrong("a map")
		}
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			s.value(join(path, key), t.Value, entries[key], faults)
		}
	case *ast.Ident:
		s.named(path, t.Name, value, faults)
	}
}

func (s *source) named(path, name string, value any, faults *[]string) {
	switch name {
	case "string":
		if _, ok := value.(string); !ok {
			*faults = append(*faults, fmt.Sprintf("%s is a %T, not a string", path, value))
		}
	case "bool":
		if _, ok := value.(bool); !ok {
			*faults = append(*faults, fmt.Sprintf("%s is a %T, not a bool", path, value))
		}
	case "int":
		if n, ok := value.(float64); !ok || n != float64(int64(n)) {
			*faults = append(*faults, fmt.Sprintf("%s is %v (%T), not a whole number", path, value, value))
		}
	case "float64":
		if _, ok := value.(float64); !ok {
			*faults = append(*faults, fmt.Sprintf("%s is a %T, not a number", path, value))
		}
	default:
		structure, known := s.types[name]
		object, ok := value.(map[string]any)
		if !known || !ok {
			*faults = append(*faults, fmt.Sprintf("%s is a %T, not a %s", path, value, name))
			return
		}
		s.object(path, properties(structure), object, faults)
	}
}
