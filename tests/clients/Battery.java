import java.nio.file.*;
import java.sql.*;
import java.util.*;
import java.util.regex.*;

/** Runs a battery of batches through JDBC; prints what came of each, a line for each result, row and message.
 *  Arguments: JDBC URL, password, file of batches (a JSON list of strings). */
public class Battery {
  public static void main(String[] args) throws Exception {
    Properties login = new Properties();
    login.put("user", "sa");
    login.put("password", args[1]);
    for (String name : List.of("com.microsoft.sqlserver.jdbc.SQLServerDriver", "net.sourceforge.jtds.jdbc.Driver")) {
      try { Class.forName(name); } catch (ClassNotFoundException absent) { continue; }
    }
    try (Connection connection = DriverManager.getConnection(args[0], login); Statement statement = connection.createStatement()) {
      for (String batch : batches(Files.readString(Path.of(args[2])))) {
        System.out.println("== " + batch.substring(0, Math.min(60, batch.length())));
        run(statement, batch);
      }
      try (PreparedStatement prepared = connection.prepareStatement("SELECT ? + 1 AS n, ? AS s")) {
        for (int turn = 0; turn < 3; turn++) {
          prepared.setInt(1, turn);
          prepared.setString(2, "日本" + turn);
          try (ResultSet rows = prepared.executeQuery()) { print(rows); }
        }
      }
      connection.setAutoCommit(false);
      run(statement, "SELECT @@TRANCOUNT AS depth");
      connection.rollback();
    }
  }

  static void run(Statement statement, String batch) throws SQLException {
    try {
      boolean result = statement.execute(batch);
      while (true) {
        if (result) {
          try (ResultSet rows = statement.getResultSet()) { print(rows); }
        } else {
          int count = statement.getUpdateCount();
          if (count < 0) break;
          System.out.println("count " + count);
        }
        try {
          result = statement.getMoreResults();
        } catch (SQLException error) {
          print(error);
          if (error.getErrorCode() == 0) break;
          result = statement.getMoreResults();
        }
      }
    } catch (SQLException error) {
      print(error);
    }
    for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
      System.out.println("warning " + warning.getErrorCode() + " " + warning.getMessage());
    }
    statement.clearWarnings();
  }

  static void print(SQLException error) {
    for (SQLException each = error; each != null; each = each.getNextException()) {
      System.out.println("error " + each.getErrorCode() + " " + each.getSQLState() + " " + each.getMessage().replaceAll("ClientConnectionId:.*", ""));
    }
  }

  static void print(ResultSet rows) throws SQLException {
    ResultSetMetaData about = rows.getMetaData();
    StringBuilder line = new StringBuilder("columns");
    for (int i = 1; i <= about.getColumnCount(); i++) line.append(' ').append(about.getColumnName(i)).append(':').append(about.getColumnTypeName(i));
    System.out.println(line);
    try {
      while (rows.next()) {
        line = new StringBuilder("row");
        for (int i = 1; i <= about.getColumnCount(); i++) {
          Object value = rows.getObject(i);
          line.append(" | ").append(value instanceof byte[] bytes ? Arrays.toString(bytes) : value instanceof Clob ? rows.getString(i) : String.valueOf(value));
        }
        System.out.println(line);
      }
    } catch (SQLException error) {
      print(error);
    }
  }

  static List<String> batches(String json) {
    List<String> found = new ArrayList<>();
    Matcher matcher = Pattern.compile("^  \"(.*)\",?$", Pattern.MULTILINE).matcher(json);
    while (matcher.find()) found.add(matcher.group(1));
    return found;
  }
}
