[
  line_length: 120,
  inputs: ["mix.exs", ".formatter.exs", "lib/**/*.{ex,exs}", "test/**/*.{ex,exs}"]
]
