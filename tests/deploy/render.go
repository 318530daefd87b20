// Renders a Helm chart: `go run render.go CHART < VALUES`, with the values as JSON. It has Helm's template language,
// which is that of Go, and those functions of Helm's that the charts here use; another one is an error.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"
)

type files string

// Get returns a file of the chart; Helm returns nothing for a file that is missing.
func (f files) Get(name string) string {
	text, err := os.ReadFile(filepath.Join(string(f), name))
	check(err)
	return string(text)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func toJson(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

func indent(spaces int, text string) string {
	pad := strings.Repeat(" ", spaces)
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

func quote(value any) string { return fmt.Sprintf("%q", fmt.Sprint(value)) }

func sha256sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func main() {
	chart := os.Args[1]
	data := map[string]any{"Files": files(chart)}
	var values any
	check(json.NewDecoder(os.Stdin).Decode(&values))
	data["Values"] = values
	functions := template.FuncMap{"toJson": toJson, "indent": indent, "quote": quote, "sha256sum": sha256sum}
	paths, err := filepath.Glob(filepath.Join(chart, "templates", "*.yaml"))
	check(err)
	sort.Strings(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(err)
		parsed, err := template.New(path).Funcs(functions).Option("missingkey=error").Parse(string(text))
		check(err)
		var out strings.Builder
		check(parsed.Execute(&out, data))
		if strings.TrimSpace(out.String()) != "" {
			fmt.Printf("---\n%s\n", strings.TrimPrefix(out.String(), "\n"))
		}
	}
}
