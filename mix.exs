defmodule Mix.Tasks.Compile.HansomNative do
  @moduledoc false
  # Stands in mix.exs because a project's compilers run before its own modules exist, also when it is a dependency.
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    # No options beyond the working directory: the script decides everything, so that rebar3 builds the same.
    case System.cmd("sh", ["native/build.sh"], into: IO.stream(:stdio, :line), stderr_to_stdout: true) do
      {_, 0} ->
        # A first build creates priv/, after mix has already looked for it: link it into _build again.
        Mix.Project.build_structure()
        {:ok, []}

      {_, status} ->
        Mix.shell().error("native/build.sh ended with status #{status}")
        {:error, []}
    end
  end
end

defmodule Hansom.MixProject do
  use Mix.Project

  # The one source of name, version, description and environment, shared with rebar3.
  {:ok, [{:application, app, properties}]} = :file.consult(Path.join(__DIR__, "lib/hansom.app.src"))
  @app app
  @properties properties

  def project do
    [
      app: @app,
      version: to_string(@properties[:vsn]),
      description: to_string(@properties[:description]),
      elixir: "~> 1.14",
      # rebar3 keeps its own beams in _build/test: the two tools must not share a folder.
      build_path: "_build/mix",
      compilers: [:hansom_native | Mix.compilers()],
      erlc_paths: ["lib" | test_support(Mix.env())],
      elixirc_paths: ["lib" | test_support(Mix.env())],
      erlc_options: [:debug_info],
      test_paths: ["test"],
      deps: [],
      package: package()
    ]
  end

  def application do
    [
      mod: @properties[:mod],
      registered: @properties[:registered],
      env: @properties[:env],
      extra_applications: @properties[:applications] -- [:kernel, :stdlib]
    ]
    |> Keyword.reject(fn {_, value} -> value in [nil, []] end)
  end

  defp test_support(:test), do: ["test/support"]
  defp test_support(_), do: []

  defp package do
    [
      licenses: ["Apache-2.0"],
      build_tools: ["mix", "rebar3"],
      files: ~w(lib native/*/src native/*/Cargo.toml native/build.sh Cargo.toml Cargo.lock
                mix.exs rebar.config README.md CHANGELOG.md LICENSE docs),
      links: %{}
    ]
  end
end
