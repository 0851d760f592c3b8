defmodule Hansom.Conn do
  @moduledoc """
  A connection to an HTTP server, behind a process.

      {:ok, conn} = Hansom.Conn.start_link(host: "example.com")
      :ok = Hansom.Conn.connect(conn)
      {:ok, 200, headers} = Hansom.Conn.request(conn, :get, "/", [{"accept", "text/html"}])
      {:ok, body} = Hansom.Conn.body(conn)
      :ok = Hansom.Conn.stop(conn)

  With `transport: :tls` HTTP/2 is spoken where the server does, and HTTP/3 with
  `connect_options: [protocols: [:http3, :http2, :http1]]`: then the answer of `request/6` has the
  body as a fourth element, and the connection stays `:connected` whatever is on its way.

  A connection is started `:idle`, dialled with `connect/1`, carries one exchange at a time and
  ends with its owner (the process that started it, unless told otherwise), by `stop/1` or when
  it is of no further use.

  ## States

  `:idle`, `:connecting`, `:connected`, `:receiving` (a response is being read),
  `:streaming_body` (a request body is being sent in pieces), `:streaming` and `:streaming_once`
  (a response is being delivered as messages), `:closed` (without a socket; it can be dialled
  again). A function that does not fit the state answers `{:error, :invalid_state}`.

  ## Responses as messages

  `request_async/6` delivers a response as messages `{:hackney_response, conn, payload}`:

      {:ok, ^conn} = Hansom.Conn.request_async(conn, :get, "/events")

      receive do
        {:hackney_response, ^conn, {:status, 200, _reason}} -> :ok
      end

  The payloads come in this order: any number of `{:informational, status, reason, headers}`,
  then `{:status, status, reason}`, `{:headers, headers}`, any number of binaries, and at the end
  `:done` or `{:error, reason}`. With `follow_redirect: true` a redirect comes as the one payload
  `{:redirect, location, headers}` or `{:see_other, location, headers}`. `docs/messages.md` has
  the details.

  ## When the process is gone

  The functions that make an exchange answer `{:error, :closed}` if the process is dead or ends
  normally meanwhile; the others, and all if it crashes, exit as `GenServer.call/3` does. A wait
  that expires exits with `{:timeout, _}`; what was asked for goes on, and no message of it comes
  later.

  ## Errors

  `:closed`, `:timeout`, `:invalid_state`, `:nxdomain`, POSIX names such as `:econnrefused`,
  `:not_connected`, `:bad_request`, `{:tls_alert, {alert, text}}`, `{:options, option}` and the
  others that the documentation of `:hansom_conn` lists.
  """

  @typedoc "A connection process."
  @type t() :: pid()
  @type state() ::
          :idle
          | :connecting
          | :connected
          | :streaming_body
          | :receiving
          | :streaming
          | :streaming_once
          | :closed
  @typedoc "A protocol, `:http1` before the first dial."
  @type protocol() :: :http1 | :http2 | :http3
  @typedoc ~S(`:get` and `"GET"` are the same; a string is sent as it is.)
  @type method() :: atom() | String.t()
  @type headers() :: [{String.t() | atom(), String.t() | integer() | atom()}]
  @type response_headers() :: [{name :: String.t(), value :: String.t()}]
  @type status() :: non_neg_integer()
  @type error() :: {:error, term()}
  @typedoc "Over HTTP/2 and HTTP/3 the whole response comes at once."
  @type response() ::
          {:ok, status(), response_headers()}
          | {:ok, status(), response_headers(), body :: binary()}
  @typedoc "A stream of one's own on an HTTP/2 connection."
  @type stream_id() :: pos_integer()
  @typedoc "A function called with status, reason and header fields of an interim response."
  @type inform_fun() :: (status(), String.t(), response_headers() -> term())
  @typedoc """
  A body made piece by piece: a function of nothing, or a function of a state with the first
  state. It gives `{:ok, data}` (with the next state), `:eof` or `{:error, reason}`.
  """
  @type producer() ::
          (() -> {:ok, iodata()} | :eof | {:error, term()})
          | {(state :: term() -> {:ok, iodata(), term()} | :eof | {:error, term()}), term()}
  @type address() :: {:inet.ip_address(), :inet.port_number()} | {:local, binary()}
  @type checkin_info() :: %{
          upgraded_ssl: boolean(),
          no_reuse: boolean(),
          pool_ssl: boolean(),
          protocol: protocol(),
          should_close: boolean(),
          ready: boolean()
        }

  @typedoc """
  Options of one request.

    * `:timeout` - how long the caller waits, in milliseconds (default `:infinity`; not for
      `request_async/6`)
    * `:recv_timeout` - how long each read may take, in milliseconds
    * `:inform_fun` - called for every interim response, in the connection's process
    * `:auto_decompress` - undo gzip, deflate, br and zstd in `body/2` (default `false`)
    * `:send_timeout` - HTTP/2, HTTP/3: how long the body may wait for the peer's flow control, in
      milliseconds, or `:nonblock`
    * `:trailers` - deliver `{:trailers, headers}` before the `:done` of messages (default `false`)
    * `:interim` - HTTP/2, HTTP/3: tell of interim responses there too (default `false`)
  """
  @type request_options() :: [
          timeout: timeout(),
          recv_timeout: timeout(),
          inform_fun: inform_fun(),
          auto_decompress: boolean(),
          send_timeout: timeout() | :nonblock,
          trailers: boolean(),
          interim: boolean()
        ]

  @doc """
  A child of a supervisor that is not restarted: whoever needs another connection starts one.
  """
  @spec child_spec(keyword() | map()) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: __MODULE__,
      start: {__MODULE__, :start_link, [options]},
      restart: :temporary,
      shutdown: 5000
    }
  end

  @doc """
  Starts a connection linked to the caller, without any network activity.

  Options, as a keyword list or a map:

    * `:host` - required; a name, an address, or the path of a Unix socket
    * `:port` - default `80`
    * `:transport` - `:tcp` (default), `:tls` or `:unix`
    * `:connect_timeout` - for the dial and the TLS handshake, default `8000` ms
    * `:recv_timeout` - for each read, default `5000` ms
    * `:idle_timeout` - between exchanges, default `:infinity`
    * `:connect_options` - socket options, e.g. `[nodelay: true]`
    * `:ssl_options` - TLS options, e.g. `[cacertfile: "ca.pem"]`
    * `:owner` - the process whose death ends the connection, default the caller
    * `:h2c` - speak HTTP/2 without TLS, default `false`
    * `:http3` - `:first` (default) or `:race`, how HTTP/3 is tried where the protocols have it
    * `:early_data` - HTTP/3: send safe requests ahead of a resumed handshake, default `false`
    * `:truncated_body` - `:error` (default) or `:ok` when the peer closes within a body
    * `:unpulled` - `:keep` (default) or `:drop` what is left of a complete `:once` response when its connection is lost

  `docs/options.md` has all of them. `nil` is as good as absent. A bad value is named:

      iex> Hansom.Conn.start_link(host: "example.com", port: 70_000)
      {:error, {:options, {:port, 70_000}}}
  """
  @spec start_link(keyword() | map()) :: {:ok, t()} | error()
  def start_link(options) do
    for({key, value} <- options, not is_nil(value), into: %{}, do: {key, value})
    |> :hansom_conn.start_link()
  end

  @doc """
  Ends the connection and returns when its process is dead; after `timeout` it is killed.
  """
  @spec stop(t(), timeout()) :: :ok
  def stop(conn, timeout \\ :infinity), do: :hansom_conn.stop(conn, timeout)

  @doc """
  Dials, from `:idle` or `:closed`. `timeout` bounds only the wait; the dial is bounded by the
  option `:connect_timeout`. A dial from `:idle` that fails also ends the process.
  """
  @spec connect(t(), timeout()) :: :ok | error()
  def connect(conn, timeout \\ 8000), do: :hansom_conn.connect(conn, timeout)

  @doc """
  The state, at once whatever the connection is busy with, but for a function of the user that it
  runs (a body, an `inform_fun`).
  """
  @spec get_state(t(), timeout()) :: {:ok, state()}
  def get_state(conn, timeout \\ 5000), do: :hansom_conn.get_state(conn, timeout)

  @doc """
  Sends a request and waits for status and header fields of its response.

  The body is then read with `body/2` or `stream_body/1`, also when there can be none. Over HTTP/2
  the answer has it as a fourth element.

      {:ok, 201, _headers} =
        Hansom.Conn.request(conn, :post, "/items", [{"content-type", "text/plain"}], "one")

      {:ok, 200, _headers} = Hansom.Conn.request(conn, :get, "/slow", [], "", recv_timeout: 60_000)
  """
  @spec request(t(), method(), String.t(), headers(), iodata(), request_options()) ::
          response() | error()
  def request(conn, method, path, headers \\ [], body \\ "", options \\ []) do
    {timeout, options} = Keyword.pop(options, :timeout, :infinity)
    :hansom_conn.request(conn, method_name(method), path, headers, body, timeout, options)
  end

  @doc """
  Sends a request over HTTP/3 and waits for status and header fields of its response; the body is
  read with `stream_body/1`, by the same process. Over other protocols it answers
  `{:error, :invalid_state}`.
  """
  @spec request_streaming(t(), method(), String.t(), headers(), iodata()) ::
          {:ok, status(), response_headers()} | error()
  def request_streaming(conn, method, path, headers \\ [], body \\ "") do
    :hansom_conn.request_streaming(conn, method_name(method), path, headers, body)
  end

  @doc """
  The (rest of the) response body.

  A body cut short by the peer gives `{:error, {:closed, received}}`, unless the connection was
  started with `truncated_body: :ok`.
  """
  @spec body(t(), timeout()) :: {:ok, binary()} | error()
  def body(conn, timeout \\ :infinity), do: :hansom_conn.body(conn, timeout)

  @doc """
  The next piece of the response body, or `:done` after the last.

      Stream.repeatedly(fn -> Hansom.Conn.stream_body(conn) end)
      |> Enum.take_while(&match?({:ok, _}, &1))
  """
  @spec stream_body(t()) :: {:ok, binary()} | :done | error()
  defdelegate stream_body(conn), to: :hansom_conn

  @doc """
  Sends the head of a request whose body follows in pieces. Give `host` among the headers: only
  `Transfer-Encoding: chunked` is added.

      :ok = Hansom.Conn.send_request_headers(conn, :post, "/upload", [{"host", "example.com"}])
      :ok = Hansom.Conn.send_body_chunk(conn, "one")
      :ok = Hansom.Conn.finish_send_body(conn)
      {:ok, 200, _headers, ^conn} = Hansom.Conn.start_response(conn)
      {:ok, _body} = Hansom.Conn.body(conn)
  """
  @spec send_request_headers(t(), method(), String.t(), headers(), request_options()) ::
          :ok | error()
  def send_request_headers(conn, method, path, headers, options \\ []) do
    :hansom_conn.send_request_headers(conn, method_name(method), path, headers, options)
  end

  @doc """
  Sends a piece of the request body, or all pieces a function makes until it gives `:eof`. The
  function runs in the connection's process.
  """
  @spec send_body_chunk(t(), iodata() | producer()) :: :ok | error()
  defdelegate send_body_chunk(conn, data), to: :hansom_conn

  @doc "Ends the request body. Option: `:trailers`, fields to be sent after it."
  @spec finish_send_body(t(), trailers: headers()) :: :ok | error()
  def finish_send_body(conn, options \\ []), do: :hansom_conn.finish_send_body(conn, options)

  @doc "Waits for status and header fields of the response to a request sent in pieces."
  @spec start_response(t()) :: {:ok, status(), response_headers(), t()} | error()
  defdelegate start_response(conn), to: :hansom_conn

  @doc """
  Sends a request whose response comes as messages. An error answered here means that no message
  will come.

  Options besides those of a request:

    * `:mode` - `true` (default) pushes the messages; `:once` waits for `stream_next/1` before
      each one after the header fields
    * `:stream_to` - who gets them, default the caller; another process becomes the owner
    * `:follow_redirect` - report a redirect as one message for the receiver to follow (default
      `false`)
  """
  @spec request_async(t(), method(), String.t(), headers(), iodata(), keyword()) ::
          {:ok, t()} | error()
  def request_async(conn, method, path, headers \\ [], body \\ "", options \\ []) do
    {mode, options} = Keyword.pop(options, :mode, true)
    {stream_to, options} = Keyword.pop(options, :stream_to, self())
    {follow, options} = Keyword.pop(options, :follow_redirect, false)
    method = method_name(method)
    :hansom_conn.request_async(conn, method, path, headers, body, mode, stream_to, follow, options)
  end

  @doc "Asks for one more message of a response in mode `:once`, or paused."
  @spec stream_next(t()) :: :ok
  defdelegate stream_next(conn), to: :hansom_conn

  @doc "Ends the delivery of messages; the rest of the body is read with `body/2`."
  @spec stop_async(t()) :: :ok | error()
  defdelegate stop_async(conn), to: :hansom_conn

  @doc "Makes a pushed response one that is pulled with `stream_next/1`."
  @spec pause_stream(t()) :: :ok
  defdelegate pause_stream(conn), to: :hansom_conn

  @doc "Makes a pulled response one that is pushed."
  @spec resume_stream(t()) :: :ok
  defdelegate resume_stream(conn), to: :hansom_conn

  @doc "Sets options of the open socket, e.g. `nodelay: true`."
  @spec setopts(t(), keyword()) :: :ok | error()
  defdelegate setopts(conn, options), to: :hansom_conn

  @doc "The peer's address and port."
  @spec peername(t()) :: {:ok, address()} | error()
  defdelegate peername(conn), to: :hansom_conn

  @doc "The local address and port."
  @spec sockname(t()) :: {:ok, address()} | error()
  defdelegate sockname(conn), to: :hansom_conn

  @doc "The peer's certificate (DER); `{:error, :not_ssl}` without TLS."
  @spec peercert(t()) :: {:ok, binary()} | error()
  defdelegate peercert(conn), to: :hansom_conn

  @doc """
  Moves an HTTP/3 connection to the local address the system chooses now. Exchanges go on. Other
  protocols answer `{:error, :not_supported}`.
  """
  @spec migrate(t()) :: :ok | error()
  defdelegate migrate(conn), to: :hansom_conn

  @doc "Writes bytes past HTTP."
  @spec send(t(), iodata()) :: :ok | error()
  defdelegate send(conn, data), to: :hansom_conn

  @doc "Reads `length` bytes past HTTP, or any number if it is 0, within `timeout` milliseconds."
  @spec recv(t(), non_neg_integer(), timeout()) :: {:ok, binary()} | error()
  def recv(conn, length \\ 0, timeout), do: :hansom_conn.recv(conn, length, timeout)

  @doc "Closes the socket, in every state. The process stays, in `:closed`."
  @spec close(t()) :: :ok
  defdelegate close(conn), to: :hansom_conn

  @doc "Header fields of the last response, `nil` before the first."
  @spec response_headers(t()) :: response_headers() | nil
  def response_headers(conn) do
    with :undefined <- :hansom_conn.response_headers(conn), do: nil
  end

  @doc "What `set_location/2` noted last; `nil` also if the process is dead."
  @spec get_location(t()) :: String.t() | nil
  def get_location(conn) do
    with :undefined <- :hansom_conn.get_location(conn), do: nil
  end

  @doc "Notes where a chain of redirects has led."
  @spec set_location(t(), String.t()) :: :ok | {:error, :closed}
  defdelegate set_location(conn, location), to: :hansom_conn

  @doc """
  Opens a stream on an HTTP/2 connection on which both sides send as they like.

  Its handler gets a message `{:h2, conn, event}` for whatever happens on it
  (`docs/messages.md`) and drives it with the functions of `:hansom_h2_stream`. Options:

    * `:handler` - default the caller
    * `:flow_control` - `:auto` (default), or `:manual`: the stream's window reopens only by
      `:hansom_h2_stream.consume/3`
  """
  @spec open_h2_stream(t(), method(), String.t(), headers(), keyword()) ::
          {:ok, t(), stream_id()} | error()
  def open_h2_stream(conn, method, path, headers \\ [], options \\ []) do
    {handler, options} = Keyword.pop(options, :handler, self())
    method = method_name(method)
    :hansom_conn.open_h2_stream(conn, method, path, headers, handler, Map.new(options))
  end

  @doc "The protocol spoken."
  @spec get_protocol(t()) :: protocol()
  defdelegate get_protocol(conn), to: :hansom_conn

  @doc "Makes the pool the owner and hands the connection back to it."
  @spec release_to_pool(t()) :: :ok | error()
  defdelegate release_to_pool(conn), to: :hansom_conn

  @doc "Whether the socket of a `:connected` connection is sound; if not, it is closed."
  @spec verify_socket(t()) :: :ok | error()
  defdelegate verify_socket(conn), to: :hansom_conn

  @doc "Whether a `:connected` connection can be taken into use. It restarts the idle timer."
  @spec is_ready(t(), timeout()) :: {:ok, :connected | :closed} | error()
  def is_ready(conn, timeout \\ 5000), do: :hansom_conn.is_ready(conn, timeout)

  @doc """
  Starts TLS on an open TCP connection; `:ok` at once if it is encrypted already.

  Options: `:final` takes `ssl_options` as complete, `:pool_ssl` lets the connection go back to a
  pool (both `false` by default).

      :ok = Hansom.Conn.upgrade_to_ssl(conn, cacertfile: "ca.pem")
  """
  @spec upgrade_to_ssl(t(), keyword(), keyword() | map()) :: :ok | error()
  def upgrade_to_ssl(conn, ssl_options, options \\ []) do
    :hansom_conn.upgrade_to_ssl(conn, ssl_options, Map.new(options))
  end

  @doc "Whether TLS was started by `upgrade_to_ssl/3`."
  @spec is_upgraded_ssl(t()) :: boolean()
  defdelegate is_upgraded_ssl(conn), to: :hansom_conn

  @doc "Whether the connection ends after its first exchange."
  @spec is_no_reuse(t()) :: boolean()
  defdelegate is_no_reuse(conn), to: :hansom_conn

  @doc "What a pool needs to know to take the connection back."
  @spec checkin_info(t(), timeout()) :: checkin_info()
  def checkin_info(conn, timeout \\ 5000), do: :hansom_conn.checkin_info(conn, timeout)

  @doc """
  Makes `owner` the process whose death ends the connection. From the answer on the old owner's
  death has no effect, even if it came before.
  """
  @spec set_owner(t(), pid(), timeout()) :: :ok | error()
  def set_owner(conn, owner, timeout \\ 5000), do: :hansom_conn.set_owner(conn, owner, timeout)

  @doc "The same without an answer."
  @spec set_owner_async(t(), pid()) :: :ok
  defdelegate set_owner_async(conn, owner), to: :hansom_conn

  # Methods are case-sensitive (RFC 9110, section 9.1); an atom is written as Elixir writes atoms.
  defp method_name(method) when is_atom(method),
    do: method |> Atom.to_string() |> String.upcase(:ascii)

  defp method_name(method), do: method
end
