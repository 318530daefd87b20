// Renders the templates of a chart as Helm does: Go's own templates, with the functions that the chart
// uses. For machines without Helm.
//
//	go run tests/node/chart.go CHART < VALUES      VALUES is a JSON object
//
// Needs Go 1.19 or later and no module.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("chart.go: expected the directory of a chart")
	}
	values := map[string]any{}
	if err := json.NewDecoder(os.Stdin).Decode(&values); err != nil {
		log.Fatalf("chart.go: values: %v", err)
	}
	functions := template.FuncMap{
		"indent": func(spaces int, text string) string {
			pad := strings.Repeat(" ", spaces)
			return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
		},
		"sha256sum": func(text string) string {
			return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		},
		"toJson": func(value any) (string, error) {
			text, err := json.Marshal(value)
			return string(text), err
		},
	}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "templates", "*.yaml"))
	if err != nil || len(files) == 0 {
		log.Fatalf("chart.go: %s has no templates", os.Args[1])
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			log.Fatalf("chart.go: %v", err)
		}
		parsed, err := template.New(file).Funcs(functions).Option("missingkey=error").Parse(string(text))
		if err != nil {
			log.Fatalf("chart.go: %v", err)
		}
		fmt.Println("---")
		if err := parsed.Execute(os.Stdout, map[string]any{"Values": values}); err != nil {
			log.Fatalf("chart.go: %v", err)
		}
	}
}
