defmodule Hansom do
  @moduledoc """
  HTTP connections on a Rust engine, with the interface and the answers of hackney's connection
  process.

  Connections are started, used and stopped through `Hansom.Conn`:

      {:ok, conn} = Hansom.Conn.start_link(host: "example.com")
      :ok = Hansom.Conn.connect(conn)
      {:ok, 200, headers} = Hansom.Conn.request(conn, :get, "/")
      {:ok, body} = Hansom.Conn.body(conn)
      :ok = Hansom.Conn.stop(conn)

  This module shows what connections and the engine hold.
  """

  @doc """
  What a connection holds and has done: its state and protocol, whether it is encrypted, bytes
  received, sent and buffered, requests, reuses, dials and TLS handshakes. `nil` if the process is
  dead or no connection.

  The connection is neither asked nor disturbed.

      iex> Hansom.info(conn).state
      :connected
  """
  @spec info(pid()) :: map() | nil
  def info(conn) do
    with :undefined <- :hansom.info(conn), do: nil
  end

  @doc """
  Totals of this node: connections by state, dials, TLS handshakes, requests, reuses, bytes
  received and sent, and the threads of the engine.
  """
  @spec stats() :: map()
  defdelegate stats(), to: :hansom
end
