defmodule Hansom.ConnTest do
  use ExUnit.Case, async: true

  alias Hansom.Conn

  # A server that answers the n-th request with the n-th response and tells the test what it read.
  defp serve(responses) do
    test = self()
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)

    server = fn ->
      {:ok, socket} = :gen_tcp.accept(listener, 5000)
      Enum.each(responses, &answer(socket, &1, test))
      # Until the client closes.
      _ = :gen_tcp.recv(socket, 0, 5000)
    end

    start_supervised!(Supervisor.child_spec({Task, server}, id: make_ref()))

    [host: "127.0.0.1", port: port]
  end

  defp answer(socket, {:close, response}, test) do
    answer(socket, response, test)
    :ok = :gen_tcp.shutdown(socket, :write)
  end

  defp answer(socket, response, test) do
    send(test, {:request, read_request(socket, "")})
    :ok = :gen_tcp.send(socket, response)
  end

  # The requests of these tests end with their head, or with the last chunk.
  defp read_request(socket, read) do
    {:ok, data} = :gen_tcp.recv(socket, 0, 5000)
    read = read <> data
    chunked? = read =~ ~r/transfer-encoding: chunked/i

    if String.ends_with?(read, if(chunked?, do: "0\r\n\r\n", else: "\r\n\r\n")),
      do: read,
      else: read_request(socket, read)
  end

  defp ok(body),
    do: "HTTP/1.1 200 OK\r\nContent-Length: #{byte_size(body)}\r\nX-A: b\r\n\r\n#{body}"

  defp connected(responses, options \\ []) do
    {:ok, conn} = Conn.start_link(serve(responses) ++ options)
    :ok = Conn.connect(conn)
    conn
  end

  test "an exchange, with header fields and body as strings" do
    conn = connected([ok("hello"), ok("again")])
    assert {:ok, :connected} = Conn.get_state(conn)
    assert Conn.response_headers(conn) == nil
    assert {:ok, 200, headers} = Conn.request(conn, :get, "/a?b=c", [{"accept", "x/y"}])
    assert {"X-A", "b"} in headers
    assert {:ok, "hello"} = Conn.body(conn)
    assert Conn.response_headers(conn) == headers
    assert_receive {:request, "GET /a?b=c HTTP/1.1\r\naccept: x/y\r\n" <> _}
    assert {:ok, 200, _} = Conn.request(conn, "OPTIONS", "/", [], "", timeout: 5000)
    assert [{:ok, "again"}, :done] = [Conn.stream_body(conn), Conn.stream_body(conn)]
    assert %{state: :connected, requests: 2} = Hansom.info(conn)
    assert :ok = Conn.stop(conn)
    assert Hansom.info(conn) == nil
  end

  test "options are a keyword list or a map, nil is absent, a bad one is named" do
    assert {:ok, conn} = Conn.start_link(%{host: "example.com", idle_timeout: nil})
    assert {:ok, :idle} = Conn.get_state(conn)
    assert {:error, {:options, {:port, 70_000}}} = Conn.start_link(host: "a", port: 70_000)
    assert {:error, {{:badkey, :host}, _}} = Conn.start_link([])
  end

  test "a request body in pieces, made by a function" do
    conn = connected([ok("done")])
    :ok = Conn.send_request_headers(conn, :post, "/up", [{"host", "a"}])
    :ok = Conn.send_body_chunk(conn, ["on", "e"])

    producer = fn
      3 -> :eof
      n -> {:ok, Integer.to_string(n), n + 1}
    end

    :ok = Conn.send_body_chunk(conn, {producer, 1})
    :ok = Conn.finish_send_body(conn)
    assert {:ok, 200, _, ^conn} = Conn.start_response(conn)
    assert {:ok, "done"} = Conn.body(conn)
    assert_receive {:request, request}
    assert request =~ "3\r\none\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"
  end

  test "a response as messages, pushed and pulled" do
    conn = connected([ok("pushed")])
    assert {:ok, ^conn} = Conn.request_async(conn, :get, "/")
    assert_receive {:hackney_response, ^conn, {:status, 200, "OK"}}
    assert_receive {:hackney_response, ^conn, {:headers, [_ | _]}}
    assert_receive {:hackney_response, ^conn, "pushed"}
    assert_receive {:hackney_response, ^conn, :done}

    conn = connected([ok("pulled")])
    assert {:ok, ^conn} = Conn.request_async(conn, :get, "/", [], "", mode: :once)
    assert_receive {:hackney_response, ^conn, {:headers, _}}
    assert :ok = Conn.stream_next(conn)
    assert_receive {:hackney_response, ^conn, "pulled"}
    assert :ok = Conn.stream_next(conn)
    assert_receive {:hackney_response, ^conn, :done}
  end

  # A server that answers every request of one HTTP/2 connection with "two" (RFC 9113, section 4.1).
  defp serve_http2 do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)

    server = fn ->
      {:ok, socket} = :gen_tcp.accept(listener, 5000)
      {:ok, "PRI * HTTP/2.0" <> _} = :gen_tcp.recv(socket, 24, 5000)
      :ok = :gen_tcp.send(socket, [<<0::24, 4, 0, 0::32>>, <<0::24, 4, 1, 0::32>>])
      answer_frames(socket)
    end

    start_supervised!(Supervisor.child_spec({Task, server}, id: make_ref()))
    [host: "127.0.0.1", port: port, h2c: true]
  end

  defp answer_frames(socket) do
    with {:ok, <<length::24, type, _flags, stream::32>>} <- :gen_tcp.recv(socket, 9, 5000),
         {:ok, _} <- if(length > 0, do: :gen_tcp.recv(socket, length, 5000), else: {:ok, ""}) do
      # HEADERS: 0x88 is `:status: 200` of the static table. Then DATA, the last.
      if type == 1 do
        head = <<1::24, 1, 4, stream::32, 0x88>>
        :ok = :gen_tcp.send(socket, [head, <<3::24, 0, 1, stream::32>>, "two"])
      end

      answer_frames(socket)
    end
  end

  test "HTTP/2 gives whole responses and streams of one's own" do
    {:ok, conn} = Conn.start_link(serve_http2())
    :ok = Conn.connect(conn)
    assert Conn.get_protocol(conn) == :http2
    assert {:ok, 200, [], "two"} = Conn.request(conn, :get, "/")
    assert %{protocol: :http2} = Conn.checkin_info(conn)

    assert {:ok, ^conn, id} = Conn.open_h2_stream(conn, :post, "/", [], flow_control: :auto)
    assert_receive {:h2, ^conn, {:response, ^id, 200, []}}
    assert_receive {:h2, ^conn, {:data, ^id, "two", true}}

    assert {:error, {:options, {:flow_control, :none}}} = Conn.open_h2_stream(conn, :get, "/", [], flow_control: :none)
  end

  # The bundled origin, as HANSOM_ORIGIN or cargo has it; it ends with the test.
  defp serve_http3(dir) do
    built = Path.join(System.get_env("CARGO_TARGET_DIR", "target"), "release/hansom_origin")
    origin = Path.expand(System.get_env("HANSOM_ORIGIN", built))
    assert File.exists?(origin), "the bundled origin is not built: `make origin` builds it"
    assert {_, 0} = System.cmd(origin, ["certs", dir])

    args = ["serve", "--http3", "127.0.0.1:0", "--certs", dir]
    server = Port.open({:spawn_executable, origin}, [:binary, line: 100, args: args])
    assert_receive {^server, {:data, {:eol, "http3 127.0.0.1:" <> port}}}, 10_000

    [host: "localhost", port: String.to_integer(port), transport: :hackney_ssl] ++
      [ssl_options: [cacertfile: Path.join(dir, "ca.pem")], connect_options: [protocols: [:http3]]]
  end

  @tag :tmp_dir
  test "HTTP/3 gives whole responses, messages and uploads in pieces", %{tmp_dir: dir} do
    {:ok, conn} = Conn.start_link(serve_http3(dir))
    :ok = Conn.connect(conn)
    assert Conn.get_protocol(conn) == :http3
    assert {:ok, 200, headers, "Hello, world!\n"} = Conn.request(conn, :get, "/hello")
    assert {"content-length", "14"} in headers

    assert {:ok, ^conn} = Conn.request_async(conn, :get, "/hello")
    assert_receive {:hackney_response, ^conn, {:status, 200, _}}, 10_000
    assert_receive {:hackney_response, ^conn, {:headers, _}}, 10_000
    assert_receive {:hackney_response, ^conn, "Hello, world!\n"}, 10_000
    assert_receive {:hackney_response, ^conn, :done}, 10_000

    :ok = Conn.send_request_headers(conn, :post, "/echo", [])
    :ok = Conn.send_body_chunk(conn, ["to ", "and "])
    :ok = Conn.send_body_chunk(conn, "fro")
    :ok = Conn.finish_send_body(conn)
    assert {:ok, 200, _, ^conn} = Conn.start_response(conn)
    assert {:ok, "to and fro"} = Conn.body(conn)

    assert {:error, {:stream_reset, 0x0107}} = Conn.request(conn, :get, "/reset/before-head?code=263")
    assert {:ok, :connected} = Conn.get_state(conn)
    :ok = Conn.stop(conn)
  end

  test "interim responses are told to a function" do
    test = self()
    conn = connected(["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" <> ok("")])
    inform = fn status, reason, headers -> send(test, {:inform, status, reason, headers}) end
    assert {:ok, 200, _} = Conn.request(conn, :get, "/", [], "", inform_fun: inform)
    assert_receive {:inform, 103, "Early Hints", [{"Link", "x"}]}
    assert {:ok, ""} = Conn.body(conn)
  end

  test "a truncated body is an error unless told otherwise" do
    cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"

    for {options, answer} <- [
          {[], {:error, {:closed, "half"}}},
          {[truncated_body: :ok], {:ok, "half"}}
        ] do
      conn = connected([{:close, cut}], options)
      assert {:ok, 200, _} = Conn.request(conn, :get, "/")
      assert Conn.body(conn) == answer
    end
  end

  test "what is known of a connection, and its location" do
    conn = connected([])
    assert {:ok, {{127, 0, 0, 1}, port}} = Conn.peername(conn)
    assert is_integer(port)
    assert {:error, :not_ssl} = Conn.peercert(conn)
    assert %{ready: true, protocol: :http1} = Conn.checkin_info(conn)
    assert Conn.get_location(conn) == nil
    assert :ok = Conn.set_location(conn, "http://a/")
    assert Conn.get_location(conn) == "http://a/"
    assert :ok = Conn.close(conn)
    assert {:ok, :closed} = Conn.get_state(conn)
    assert {:error, :invalid_state} = Conn.request(conn, :get, "/")
    assert :ok = Conn.stop(conn)
    assert {:error, :closed} = Conn.request(conn, :get, "/")
    assert is_map(Hansom.stats())
  end

  test "a connection below a supervisor" do
    conn = start_supervised!({Conn, [host: "example.com", owner: self()]})
    assert {:ok, :idle} = Conn.get_state(conn)
    assert :ok = stop_supervised(Conn)
    refute Process.alive?(conn)
  end
end
