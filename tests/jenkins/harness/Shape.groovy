import org.codehaus.groovy.ast.ASTNode
import org.codehaus.groovy.ast.builder.AstBuilder
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.stmt.BlockStatement
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.ast.stmt.ReturnStatement
import org.codehaus.groovy.ast.stmt.Statement
import org.codehaus.groovy.control.CompilePhase

/** What Jenkins refuses before it runs anything: Groovy that isn't declarative outside `script`, crowded lines. */
class Shape {
    /** What holds free Groovy: nothing in their blocks is declarative. */
    private static final List<String> FREE = ['script', 'expression']

    static void check(String text) {
        def nodes = new AstBuilder().buildFromString(CompilePhase.CONVERSION, false, text)
        def pipelines = statements(nodes[0] as BlockStatement).findAll { nameOf(it) == 'pipeline' }
        if (pipelines.size() != 1) {
            throw new Unknown("there are ${pipelines.size()} pipelines, not one")
        }
        block(pipelines[0])
    }

    private static void block(Statement statement) {
        def name = nameOf(statement)
        if (name == null) {
            throw new Unknown("line ${statement.lineNumber}: only script blocks may hold Groovy")
        }
        if (name in FREE) {
            return
        }
        closures(statement).each { closure ->
            def inner = statements(closure.code as BlockStatement)
            if (!inner && name in ['stages', 'steps', 'post', 'options', 'parameters']) {
                throw new Unknown("line ${statement.lineNumber}: ${name} is empty")
            }
            inner.inject(0) { last, each ->
                if (each.lineNumber <= last) {
                    throw new Unknown("line ${each.lineNumber}: two directives on one line")
                }
                block(each)
                each.lastLineNumber
            }
        }
    }

    private static List<Statement> statements(BlockStatement code) { code.statements }

    private static String nameOf(Statement statement) {
        def call = callOf(statement)
        call instanceof MethodCallExpression ? call.methodAsString : null
    }

    private static ASTNode callOf(Statement statement) {
        statement instanceof ExpressionStatement || statement instanceof ReturnStatement ? statement.expression : null
    }

    private static List<ClosureExpression> closures(Statement statement) {
        callOf(statement).arguments.expressions.findAll { it instanceof ClosureExpression }
    }
}
